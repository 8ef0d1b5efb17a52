package proxy_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A node keeps its own endpoint while it is down: another broker would answer
// NOT_LEADER_OR_FOLLOWER for ever, or, from Kafka 4.4 on, that the cluster is
// another one (KIP-1242).
func TestNodeThatIsDownIsNotReplaced(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0, 1, 2)
	second := l.startBroker(t, 2)
	l.start(t, l.config())
	l.learned(t, 0, 1, 2)
	for range 3 {
		c := l.dial(t, "bob.test:9101")
		c.send(1, metadataRequest(12))
		promptly(t, func() { _, _ = c.ended() })
		e := l.ended(t, proxy.DialFailed)
		if e.Upstream != brokerName(1) {
			t.Errorf("dialled %s, want %s", e.Upstream, brokerName(1))
		}
	}
	l.log.has(t, "level=WARN", "reason=dial_failed", "node=1", "upstream="+brokerName(1), "dial rule")
	if n := b.sessions() + second.sessions(); n > 0 {
		t.Errorf("other brokers were dialled %d times", n)
	}
}

// If the broker is down, its client gets a reset. Clients treat an orderly end before the first
// response as a refused login: franz-go fails records at once, and its groups do not look for
// another coordinator.
func TestDownIsNoRefusedLogin(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0, 1)
	l.start(t, l.config())
	l.learned(t, 0, 1)
	c := l.dial(t, "bob.test:9101")
	c.send(1, metadataRequest(12))
	promptly(t, func() {
		if rest, err := c.ended(); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
			t.Errorf("end: got %s and error %v, want nothing and a reset", excerpt(rest), err)
		}
	})
	l.ended(t, proxy.DialFailed)
}

// Every bootstrap address is tried, another one first each time.
func TestBootstrapTakesTurns(t *testing.T) {
	t.Parallel()
	var l lab
	brokers := []*broker{l.startBroker(t, 0, 0, 1, 2), l.startBroker(t, 1, 0, 1, 2), l.startBroker(t, 2, 0, 1, 2)}
	conf := l.config()
	conf.Clusters[0].Bootstrap = []string{brokerName(0), brokerName(1), brokerName(2)}
	l.start(t, conf)
	l.learned(t, 0, 1, 2)
	bootstrapped := func() {
		c := l.dial(t, "bob.test:9092")
		c.send(1, heartbeat())
		var s brokerConn
		select {
		case s = <-brokers[0].conns:
		case s = <-brokers[1].conns:
		case s = <-brokers[2].conns:
		case <-time.After(patience):
			t.Fatal("no broker was dialled")
		}
		s.request(kmsg.Heartbeat, 1)
		s.answer(1, heartbeatAnswer())
		c.receive(1, heartbeatAnswer())
		finish(t, &l, c, s)
	}
	counts := func() string {
		return fmt.Sprint(brokers[0].sessions(), brokers[1].sessions(), brokers[2].sessions())
	}
	for range 6 {
		bootstrapped()
	}
	if got := counts(); got != "2 2 2" {
		t.Errorf("6 sessions went to %s", got)
	}
	brokers[1].stop()
	brokers[2].stop()
	for range 3 {
		bootstrapped()
	}
	if got := counts(); got != "5 2 2" {
		t.Errorf("with two brokers down, sessions went to %s", got)
	}
}

// When no configured address answers, the brokers that were learned do.
func TestBootstrapFallsBackOnLearnedBrokers(t *testing.T) {
	t.Parallel()
	var l lab
	first := l.startBroker(t, 0, 0, 1)
	second := l.startBroker(t, 1)
	l.start(t, l.config())
	l.learned(t, 0, 1)
	first.stop()
	l.vpc.Remove(brokerName(0))
	c := l.dial(t, "bob.test:9092")
	c.send(1, heartbeat())
	s := second.take()
	s.request(kmsg.Heartbeat, 1)
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	if e := finish(t, &l, c, s); e.Upstream != brokerName(1) {
		t.Errorf("the session's upstream is %s", e.Upstream)
	}

	second.stop()
	c = l.dial(t, "bob.test:9092")
	c.send(1, heartbeat())
	promptly(t, func() { _, _ = c.ended() })
	e := l.ended(t, proxy.DialFailed)
	for _, name := range []string{brokerName(0), brokerName(1)} {
		l.log.has(t, "level=WARN", "reason=dial_failed", name)
		if e.Err == nil {
			t.Error("the end has no error")
		}
	}
}

// A broker that has moved, as one response says, is tried there when it is not
// where it was.
func TestNodeThatMoved(t *testing.T) {
	t.Parallel()
	var l lab
	first := l.startBroker(t, 0, 0, 1)
	l.start(t, l.config())
	l.learned(t, 0, 1)
	moved := l.startBroker(t, 7)
	c, s := l.session(t, first)
	c.send(1, metadataRequest(12))
	s.request(kmsg.Metadata, 1)
	answer := metadataAnswer(12, 0, 1)
	answer.Brokers[1].Host, answer.Brokers[1].Port = brokerAddress(7)
	s.answer(1, answer)
	resp := answerTo(12, kmsg.NewPtrMetadataResponse())
	c.receive(1, resp)
	if got := told(resp)[1]; got != "bob.test:9101" {
		t.Errorf("node 1 is advertised as %s", got)
	}
	finish(t, &l, c, s)

	c = l.dial(t, "bob.test:9101")
	c.send(1, heartbeat())
	s = moved.take()
	s.request(kmsg.Heartbeat, 1)
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	finish(t, &l, c, s)
	l.log.has(t, "level=INFO", "broker has another address", "node=1")
}
