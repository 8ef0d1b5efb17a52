package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

func versionsRequest(name, version string) *kmsg.ApiVersionsRequest {
	req := of(3, kmsg.NewPtrApiVersionsRequest())
	req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
	return req
}

// connection returns the only connection of the lab's proxy.
func (l *lab) connection(t *testing.T) proxy.Connection {
	t.Helper()
	all := l.proxy.Connections()
	if len(all) != 1 {
		t.Fatalf("%d connections: %+v", len(all), all)
	}
	return all[0]
}

// A connection is listed from the moment that it is accepted, with more once its broker is reached, and
// its software once the client has said it. One that an operator closes gets its responses first.
func TestConnections(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	c.write([]byte{0})
	eventually(t, "a connection", func() bool { return len(l.proxy.Connections()) == 1 })
	arriving := l.connection(t)
	if arriving.State != proxy.Arriving || arriving.Cluster != "orders" || arriving.Listener != "bob" || arriving.ClientID != "" {
		t.Errorf("before the first request: %+v", arriving)
	}
	frame := requestFrame(7, versionsRequest("apache-kafka-java", "4.1.0\x1b[31m"))
	c.write(frame[1:])
	s := b.take()
	s.request(kmsg.ApiVersions, 7)
	open := l.connection(t)
	if open.State != proxy.Open || open.ID != arriving.ID || open.InFlight != 1 || open.Node != proxy.NoNode || open.TLS != *overTLS {
		t.Errorf("with a request in flight: %+v", open)
	}
	if want := (proxy.Software{Name: "apache-kafka-java", Version: `4.1.0\x1b[31m`}); open.Software != want {
		t.Errorf("software %q, want %q", open.Software, want)
	}
	if open.Client == "" || open.Broker == "" || open.Up.Frames != 1 || open.Up.Copied != int64(len(frame)) {
		t.Errorf("%+v", open)
	}
	if l.proxy.Disconnect(open.ID + 1) {
		t.Error("a connection that there is not was closed")
	}
	if !l.proxy.Disconnect(open.ID) {
		t.Error("the connection was not found")
	}
	eventually(t, "its end begins", func() bool { return l.connection(t).State == proxy.Ending })
	s.answer(7, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
	c.receive(7, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
	s.eof()
	s.close()
	c.eof()
	c.close()
	l.ended(t, proxy.Disconnected)
	if left := l.proxy.Connections(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

// The texts of a client's software are bounded, and the first ones stay. A malformed request passes as
// it came.
func TestSoftwareOfClients(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	frame := requestFrame(0, versionsRequest("name", "version"))
	lie := slices.Concat(frame[:len(frame)-len("\x05name\x08version\x00")], []byte("\xff\xff\xff\xff\x0fname"))
	lie[3] = byte(len(lie) - 4)
	c.write(lie)
	s := b.take()
	if got := s.request(kmsg.ApiVersions, 0).frame; string(got) != string(lie) {
		t.Errorf("the broker got %q, want %q", got, lie)
	}
	if got := l.connection(t).Software; got != (proxy.Software{}) {
		t.Errorf("no software is %q", got)
	}
	for i, name := range []string{strings.Repeat("x", 100_000), strings.Repeat("y", 200), "another"} {
		id := int32(i) + 1
		c.send(id, versionsRequest(name, "1"))
		s.request(kmsg.ApiVersions, id)
	}
	if got, want := l.connection(t).Software, (proxy.Software{Name: strings.Repeat("y", 63) + "…", Version: "1"}); got != want {
		t.Errorf("got %q, want %q: the first that is not too long to be read", got, want)
	}
	for id := range int32(4) {
		s.answer(id, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
		c.receive(id, answerTo(3, kmsg.NewPtrApiVersionsResponse()))
	}
	finish(t, &l, c, s)
}

func TestTopology(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.liveBroker(t, 0)
	b.become(0, brokersAt(0))
	l.start(t, l.config())
	l.learned(t, 0)
	topology := l.proxy.Topology()
	if len(topology.Clusters) != 1 || !topology.Clusters[0].Up || len(topology.Clusters[0].Listeners) != 2 {
		t.Fatalf("%+v", topology)
	}
	fred := topology.Clusters[0].Listeners[1]
	if fred.Name != "fred" || fred.Bind != "127.0.0.1:19092" || fred.Advertised != "localhost:39092" || len(fred.Nodes) != 1 {
		t.Fatalf("%+v", fred)
	}
	if n := fred.Nodes[0]; n.Broker.Node != 0 || n.Bind != "127.0.0.1:19100" || n.Advertised != "localhost:39100" || n.Dialled != brokerName(0) {
		t.Errorf("%+v", n)
	}
}
