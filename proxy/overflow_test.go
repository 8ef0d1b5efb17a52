package proxy_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// metadata has the broker send Metadata with these nodes to c, and returns the addresses that
// c receives.
func metadata(c client, s brokerConn, correlationID int32, nodes ...int) map[int32]string {
	c.t.Helper()
	c.send(correlationID, metadataRequest(12))
	s.request(kmsg.Metadata, correlationID)
	s.answer(correlationID, metadataAnswer(12, nodes...))
	resp := answerTo(12, kmsg.NewPtrMetadataResponse())
	c.receive(correlationID, resp)
	return told(resp)
}

func wantTold(t *testing.T, got, want map[int32]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("the client gets %v, want %v", got, want)
	}
}

// describeCluster is DescribeCluster v0, about these nodes.
func describeCluster(c client, s brokerConn, correlationID int32, nodes ...int) map[int32]string {
	c.t.Helper()
	c.send(correlationID, of(0, kmsg.NewPtrDescribeClusterRequest()))
	s.request(kmsg.DescribeCluster, correlationID)
	sent := answerTo(0, kmsg.NewPtrDescribeClusterResponse())
	for _, node := range nodes {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID = int32(node)
		b.Host, b.Port = brokerAddress(node)
		sent.Brokers = append(sent.Brokers, b)
	}
	s.answer(correlationID, sent)
	resp := answerTo(0, kmsg.NewPtrDescribeClusterResponse())
	c.receive(correlationID, resp)
	all := map[int32]string{}
	for _, b := range resp.Brokers {
		all[b.NodeID] = hostPort(b.Host, b.Port)
	}
	return all
}

// findCoordinator is FindCoordinator v4 with one key for each of these nodes.
func findCoordinator(c client, s brokerConn, correlationID int32, nodes ...int) []kmsg.FindCoordinatorResponseCoordinator {
	c.t.Helper()
	c.send(correlationID, of(4, kmsg.NewPtrFindCoordinatorRequest()))
	s.request(kmsg.FindCoordinator, correlationID)
	sent := answerTo(4, kmsg.NewPtrFindCoordinatorResponse())
	for _, node := range nodes {
		coordinator := kmsg.NewFindCoordinatorResponseCoordinator()
		coordinator.Key, coordinator.NodeID = brokerName(node), int32(node)
		coordinator.Host, coordinator.Port = brokerAddress(node)
		sent.Coordinators = append(sent.Coordinators, coordinator)
	}
	s.answer(correlationID, sent)
	resp := answerTo(4, kmsg.NewPtrFindCoordinatorResponse())
	c.receive(correlationID, resp)
	return resp.Coordinators
}

// An id that the range was not made for has an endpoint all the same, and the log
// says that another proxy may have given it another.
func TestForeignIDTakesAFreeSlot(t *testing.T) {
	t.Parallel()
	var l lab
	foreign := l.startBroker(t, 1001)
	c, s := l.open(t)
	wantTold(t, metadata(c, s, 1, 0, 1, 1001), map[int32]string{
		0: "bob.test:9100", 1: "bob.test:9101", 1001: "bob.test:9109",
	})
	l.log.has(t, "level=WARN", "node=1001", "listener=bob", "9109", "widen the listener's nodes range")
	l.log.has(t, "level=WARN", "node=1001", "listener=fred")
	want := "[{bob [1001]} {fred [1001]}]"
	if got := fmt.Sprint(l.proxy.Health().Clusters[0].Overflowed); got != want {
		t.Errorf("health: got %s, want %s", got, want)
	}
	finish(t, &l, c, s)

	c = l.dial(t, "bob.test:9109")
	c.send(1, heartbeat())
	s = foreign.take()
	s.request(kmsg.Heartbeat, 1)
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	finish(t, &l, c, s)
}

// One broker is the coordinator of many groups, and one response names it for each.
func TestACoordinatorNamedTwiceIsInNobodysWay(t *testing.T) {
	var l lab
	c, s := l.open(t)
	for _, key := range findCoordinator(c, s, 1, 1, 0, 1) {
		if key.ErrorCode != 0 || key.Host != "bob.test" {
			t.Errorf("got %s:%d, error %d", key.Host, key.Port, key.ErrorCode)
		}
	}
	wantTold(t, metadata(c, s, 2, 0, 1), map[int32]string{0: "bob.test:9100", 1: "bob.test:9101"})
}

// twoSlots has room for the nodes 0 and 1.
func twoSlots(l *lab) *proxy.Config {
	conf := l.config()
	conf.Clusters[0].Listeners = conf.Clusters[0].Listeners[:1]
	conf.Clusters[0].Listeners[0].Nodes.Ports = config.Range{First: 9100, Last: 9101}
	return conf
}

// A node without an endpoint is left out of all responses. Other nodes keep their addresses.
func TestNodeWithoutSlotIsLeftOut(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0, 1)
	l.start(t, twoSlots(&l))
	c, s := l.session(t, b)
	want := map[int32]string{0: "bob.test:9100", 1: "bob.test:9101"}
	wantTold(t, metadata(c, s, 1, 0, 1, 2), want)
	wantTold(t, describeCluster(c, s, 2, 2, 1, 0), want)
	l.log.has(t, "level=ERROR", "no slot is left", "node=2", "listener=bob", "widen the listener's nodes range")
	if got := fmt.Sprint(l.proxy.Health().Clusters[0].Unmapped); got != "[{bob [2]}]" {
		t.Errorf("health: got %s", got)
	}
	l.log.has(t, "level=WARN", "left out of a response", "api_key=Metadata", "dropped=1")
	l.log.has(t, "level=WARN", "left out of a response", "api_key=DescribeCluster", "dropped=1")

	coordinators := findCoordinator(c, s, 3, 0, 2, 1)
	for i, want := range []struct {
		node    int32
		address string
		code    int16
	}{
		{0, "bob.test:9100", 0},
		{-1, hostPort("", -1), kerr.CoordinatorNotAvailable.Code},
		{1, "bob.test:9101", 0},
	} {
		got := coordinators[i]
		if got.NodeID != want.node || hostPort(got.Host, got.Port) != want.address || got.ErrorCode != want.code {
			t.Errorf("coordinator %d: got %+v, want %+v", i, got, want)
		}
	}

	c.send(4, of(17, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 4)
	s.answer(4, hinted(100, 1, 2))
	fetched := answerTo(17, kmsg.NewPtrFetchResponse())
	c.receive(4, fetched)
	if len(fetched.Brokers) != 1 || fetched.Brokers[0].NodeID != 1 || fetched.Brokers[0].Port != 9101 {
		t.Errorf("leader hints: got %+v, want node 1 alone", fetched.Brokers)
	}
	finish(t, &l, c, s)
	if rows := l.proxy.Table(t.Context()); len(rows) != 2 {
		t.Errorf("the table has %+v", rows)
	}
}

// clashing leads the nodes 1 and 2 to one address.
func clashing(l *lab) *proxy.Config {
	conf := l.config()
	conf.Clusters[0].Dial = []config.DialRule{{Match: "broker-1.vpc.invalid:*", To: brokerName(9)}, {Match: "broker-2.vpc.invalid:*", To: brokerName(9)}}
	return conf
}

// Two nodes cannot share one address: only one of them has an endpoint.
func TestNodesAtOneAddress(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	ninth := l.startBroker(t, 9)
	l.start(t, clashing(&l))
	c, s := l.session(t, b)
	want := map[int32]string{0: "bob.test:9100", 1: "bob.test:9101"}
	// It does not matter which response is the first to name them.
	wantTold(t, describeCluster(c, s, 1, 0, 1, 2), want)
	l.log.has(t, "level=ERROR", "dial rule", "node=2", "a dial rule of its own")
	wantTold(t, metadata(c, s, 2, 2, 1, 0), want)
	// Nor that node 1 is restarting, and missing for a while.
	wantTold(t, metadata(c, s, 3, 0, 2), map[int32]string{0: "bob.test:9100"})
	l.log.times(t, 1, "level=ERROR", "dial rule", "node=2")
	for _, row := range l.proxy.Table(t.Context()) {
		if row.Node == 2 {
			t.Errorf("the table has node 2: %+v", row)
		}
	}
	finish(t, &l, c, s)

	c = l.dial(t, "bob.test:9102")
	c.send(1, heartbeat())
	s = b.take() // and not ninth
	s.close()
	_, _ = c.ended()
	c.close()
	l.ended(t, proxy.Relearn)
	if n := ninth.sessions(); n > 0 {
		t.Errorf("the endpoint of node 2 led to node 1's address %d times", n)
	}
}

// Where no broker has an endpoint, a response has topics and no brokers. The log says
// so as an error, with what to do: the client only asks again until its time is over.
func TestNoBrokerHasAnEndpoint(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].Nodes = config.Nodes{Ports: config.Range{First: 9100, Last: 9100}, Pin: map[int32]int{99: 9100}}
	l.start(t, conf)
	c, s := l.session(t, l.first)
	wantTold(t, metadata(c, s, 1, 0, 1), map[int32]string{})
	l.log.has(t, "level=ERROR", "no slot is left for this node", "node=0", "listener=bob", "fix=")
	l.log.has(t, "level=ERROR", "names no broker any more", "listener=bob", "api_key=Metadata", "dropped=2", "fix=")
	finish(t, &l, c, s)
}
