package proxy_test

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kfakelab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// later gives bob's slots another meaning: node 1 stays at 9101, and slot 1 is node 2's.
func later(c *config.Cluster) {
	c.Listeners[0].Nodes = config.Nodes{FirstNode: 1, Ports: config.Range{First: 9101, Last: 9109}}
}

// A client that connected before slots got another meaning reaches no other node's broker.
func TestReloadMovesTheSlotOfAnArrival(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0, 1, 2)
	l.startBroker(t, 1, 0, 1, 2)
	l.startBroker(t, 2, 0, 1, 2)
	l.start(t, l.config())
	l.learned(t, 0, 1, 2)
	c := l.dial(t, "bob.test:9101")
	l.opened(t, 1)
	l.reload(t, later)
	c.send(0, heartbeat())
	_, _ = c.ended()
	l.ended(t, proxy.BrokerMoved)
}

// An open session goes on if its node is where it was, whatever its slot.
func TestReloadMovesTheSlotOfASession(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0, 1, 2)
	second := l.startBroker(t, 1, 0, 1, 2)
	l.startBroker(t, 2, 0, 1, 2)
	l.start(t, l.config())
	l.learned(t, 0, 1, 2)
	c := l.dial(t, "bob.test:9101")
	c.send(0, heartbeat())
	s := second.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	l.reload(t, later)
	beats(c, s, 1)
	finish(t, &l, c, s)
}

// Clients that connect to a new address before it is served are judged by the new rules.
func TestReloadJudgesByTheNewRules(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	c, s := l.open(t)
	conf := l.reconfigured(t, func(conf *proxy.Config) {
		bob := &conf.Clusters[0].Listeners[0]
		bob.Bind, bob.Nodes, bob.Allow = "127.0.0.1:5092", config.Nodes{Ports: config.Range{First: 5100, Last: 5109}}, []string{"192.0.2.1"}
	})
	change := l.prepare(t, conf)
	const clients = 30
	for i := range clients {
		early := l.dial(t, "127.0.0.1:"+[]string{"5092", "5100", "5109"}[i%3])
		_ = early.tryWrite(requestFrame(0, heartbeat()))
	}
	change.Apply()
	for range clients {
		l.ended(t, proxy.NotAllowed)
	}
	if n := l.first.sessions(); n != 1 {
		t.Errorf("%d sessions reached the broker, want the one of before", n)
	}
	beats(c, s, 1)
	finish(t, &l, c, s)
}

// A reload leads a cluster elsewhere. Sessions to the old one end, and their responses do not
// bring its brokers back.
func TestReloadLeadsToAnotherCluster(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	for id, first := range map[string]int{"AAAAAAAAAAAAAAAAAAAAAA": 0, "BBBBBBBBBBBBBBBBBBBBBB": 50} {
		kfakelab.StartOn(t, 2, func(node int) (net.Listener, error) {
			return l.vpc.ListenAs(context.Background(), brokerName(first+node))
		}, kfake.ClusterID(id))
	}
	l.start(t, l.config())
	l.learned(t, 0, 1)
	c := l.dial(t, "bob.test:9092")
	c.refresh(1)
	l.prepare(t, l.reconfigured(t, func(conf *proxy.Config) { conf.Clusters[0].Bootstrap = []string{brokerName(50)} })).Apply()
	_, _ = c.ended()
	l.ended(t, proxy.BrokerMoved)
	if id, brokers := l.proxy.Brokers("orders"); id != "BBBBBBBBBBBBBBBBBBBBBB" || len(brokers) != 2 || brokers[0].Host != "broker-50.vpc.invalid" {
		t.Errorf("the cluster is %s, with %v", id, brokers)
	}
}
