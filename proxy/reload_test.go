package proxy_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/portlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// reconfigured is a copy of l's first configuration, as edit changes it.
func (l *lab) reconfigured(t *testing.T, edit func(conf *proxy.Config)) *proxy.Config {
	t.Helper()
	var other lab
	conf := other.config()
	conf.Listen = nil
	edit(conf)
	if *overTLS {
		l.secure(t, conf)
	}
	return conf
}

// prepare prepares a configuration.
func (l *lab) prepare(t *testing.T, conf *proxy.Config) *proxy.Change {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	change, err := l.proxy.Prepare(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	return change
}

// reload makes a configuration that of the proxy.
func (l *lab) reload(t *testing.T, edit func(c *config.Cluster)) {
	t.Helper()
	conf := l.reconfigured(t, func(conf *proxy.Config) { edit(&conf.Clusters[0]) })
	l.prepare(t, conf).Apply()
	plan, err := conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for _, planned := range plan.Endpoints() {
		l.alias(t, planned)
	}
}

// beats shows that a session goes on.
func beats(c client, s brokerConn, correlationID int32) {
	c.t.Helper()
	c.send(correlationID, heartbeat())
	s.request(kmsg.Heartbeat, correlationID)
	s.answer(correlationID, heartbeatAnswer())
	c.receive(correlationID, heartbeatAnswer())
}

// sessionAt opens a session at an advertised address.
func (l *lab) sessionAt(t *testing.T, address string) (client, brokerConn) {
	t.Helper()
	c := l.dial(t, address)
	c.send(0, heartbeat())
	s := l.first.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	return c, s
}

// A listener that is removed delivers the responses to its clients' requests, and ends their
// sessions. Those of the other listener notice nothing.
func TestReloadRemovesAListener(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	goes, its := l.sessionAt(t, "localhost:39092")
	goes.send(1, heartbeat())
	its.request(kmsg.Heartbeat, 1)
	conf := l.reconfigured(t, func(conf *proxy.Config) { conf.Clusters[0].Listeners = conf.Clusters[0].Listeners[:1] })
	change := l.prepare(t, conf)
	if got, want := change.Removed(), []proxy.Removal{{Cluster: "orders", Listener: "fred", Sessions: 1}}; !slices.Equal(got, want) {
		t.Errorf("Removed: got %v, want %v", got, want)
	}
	change.Apply()
	l.refused(t, "localhost:39092")
	its.answer(1, heartbeatAnswer())
	goes.receive(1, heartbeatAnswer())
	endedByProxy(goes, its)
	l.ended(t, proxy.Drained)
	beats(c, s, 1)
	if got := l.proxy.Stats().Clusters[0].Listeners; len(got) != 1 || got[0].Name != "bob" || got[0].Opened != 1 {
		t.Errorf("listeners: %+v", got)
	}
	finish(t, &l, c, s)
}

// A session of a removed listener whose broker owes a response is cut after the drain timeout.
func TestReloadCutsARemovedListener(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.DrainTimeout = moment
	l.start(t, conf)
	c, s := l.sessionAt(t, "localhost:39092")
	c.send(1, heartbeat())
	s.request(kmsg.Heartbeat, 1)
	next := l.reconfigured(t, func(conf *proxy.Config) {
		conf.DrainTimeout = moment
		conf.Clusters[0].Listeners = conf.Clusters[0].Listeners[:1]
	})
	l.prepare(t, next).Apply()
	if e := l.ended(t, proxy.DrainTimeout); e.Err == nil {
		t.Error("it does not say that a response was owed")
	}
	l.log.has(t, "sessions of removed listeners were cut", "sessions=1")
}

// A listener that is added is served at once, and its nodes have their endpoints.
func TestReloadAddsAListener(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	framesAgain(c, s, 1)
	l.reload(t, func(c *config.Cluster) {
		c.Listeners = append([]config.Listener{{
			Name: "alice", Bind: "127.0.0.1:7092", Advertise: "alice.test:7092",
			Nodes: config.Nodes{Ports: config.Range{First: 7100, Last: 7109}},
		}}, c.Listeners...)
	})
	other, its := l.sessionAt(t, "alice.test:7100")
	other.send(1, metadataRequest(12))
	its.request(kmsg.Metadata, 1)
	its.answer(1, metadataAnswer(12, 0))
	resp := answerTo(12, kmsg.NewPtrMetadataResponse())
	other.receive(1, resp)
	if got := told(resp)[0]; got != "alice.test:7100" {
		t.Errorf("the client gets %q", got)
	}
	finish(t, &l, other, its)
	framesAgain(c, s, 2)
	finish(t, &l, c, s)
}

// Two listeners swap their ports. Open sessions stay those of their listener, and are
// advertised its new addresses. New ones are those of the listener that has the port now.
func TestReloadSwapsPorts(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	framesAgain(c, s, 1)
	l.reload(t, func(c *config.Cluster) {
		bob, fred := &c.Listeners[0], &c.Listeners[1]
		bob.Bind, fred.Bind = fred.Bind, bob.Bind
		bob.Nodes, fred.Nodes = config.Nodes{Ports: config.Range{First: 19100, Last: 19109}}, config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}
	})
	c.send(2, metadataRequest(12))
	s.request(kmsg.Metadata, 2)
	s.answer(2, metadataAnswer(12, 0))
	resp := answerTo(12, kmsg.NewPtrMetadataResponse())
	c.receive(2, resp)
	if got := told(resp)[0]; got != "bob.test:19100" {
		t.Errorf("the open session gets %q", got)
	}
	for address, want := range map[string]string{"bob.test:19100": "bob.test:19100", "localhost:9100": "localhost:9100"} {
		other, its := l.sessionAt(t, address)
		other.send(1, metadataRequest(12))
		its.request(kmsg.Metadata, 1)
		its.answer(1, metadataAnswer(12, 0))
		other.receive(1, resp)
		if got := told(resp)[0]; got != want {
			t.Errorf("at %s the client gets %q, want %q", address, got, want)
		}
		finish(t, &l, other, its)
	}
	beats(c, s, 3)
	finish(t, &l, c, s)
}

// New rules about APIs hold from an open session's next request on.
func TestReloadAPIs(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	l.reload(t, func(c *config.Cluster) { c.Listeners[0].APIs = config.APIs{Preset: config.ReadOnly} })
	c.send(1, produceRequest(9, -1, "", []byte("r")))
	resp := answerTo(9, kmsg.NewPtrProduceResponse())
	c.receive(1, resp)
	if len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("got %+v", resp.Topics)
	}
	beats(c, s, 2)
	l.reload(t, func(*config.Cluster) {})
	c.send(3, produceRequest(9, 1, "", []byte("r")))
	s.request(kmsg.Produce, 3)
	s.answer(3, answerTo(9, kmsg.NewPtrProduceResponse()))
	c.receive(3, answerTo(9, kmsg.NewPtrProduceResponse()))
	finish(t, &l, c, s)
}

// A limit below the number of open sessions ends none of them, and refuses new ones.
func TestReloadLowersLimits(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	other, its := l.session(t, l.first)
	l.reload(t, func(c *config.Cluster) { c.Listeners[0].Limits.MaxConnections = 1 })
	if conn, err := l.outside.Dial(t.Context(), "tcp", "bob.test:9092"); err == nil { // else it was reset before Dial had seen it
		if _, err := newPeer(t, conn).ended(); err == nil && !*overTLS {
			t.Error("it was closed cleanly")
		}
	}
	l.ended(t, proxy.TooManyConnections)
	beats(c, s, 1)
	beats(other, its, 1)
	finish(t, &l, other, its)
	finish(t, &l, c, s)
	c, s = l.session(t, l.first)
	finish(t, &l, c, s)
}

// A dial rule that leads a node elsewhere ends its sessions between two requests. Those of the
// bootstrap endpoint stay.
func TestReloadDialRules(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	framesAgain(c, s, 1)
	node, its := l.sessionAt(t, "bob.test:9100")
	l.startBroker(t, 5, 5)
	l.reload(t, func(c *config.Cluster) { c.Dial = []config.DialRule{{Match: brokerName(0), To: brokerName(5)}} })
	endedByProxy(node, its)
	l.ended(t, proxy.BrokerMoved)
	beats(c, s, 2)
	finish(t, &l, c, s)
}

// Sessions go on until their next login if kproxy's own login changes, and then end between two
// requests.
func TestReloadSASL(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openExpiringAfter(t, dueAfter)
	conf := l.reconfigured(t, func(conf *proxy.Config) { l.door.logsIn(conf).Clusters[0].SASL.Username = "another" })
	l.prepare(t, conf).Apply()
	framesAgain(c, s, 1)
	endedByProxy(c, s)
	l.ended(t, proxy.Drained)
}

// Clusters come and go.
func TestReloadClusters(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	second := l.startBroker(t, 7, 7)
	conf := l.reconfigured(t, func(conf *proxy.Config) {
		conf.Clusters = append(conf.Clusters, config.Cluster{
			Name: "stock", Bootstrap: []string{brokerName(7)},
			Listeners: []config.Listener{{
				Name: "carol", Bind: "127.0.0.1:7092", Nodes: config.Nodes{Ports: config.Range{First: 7100, Last: 7109}},
			}},
		})
	})
	l.prepare(t, conf).Apply()
	other := l.dial(t, "127.0.0.1:7092")
	other.send(1, heartbeat())
	its := second.take()
	its.request(kmsg.Heartbeat, 1)
	its.answer(1, heartbeatAnswer())
	other.receive(1, heartbeatAnswer())
	if h := l.proxy.Health(); len(h.Clusters) != 2 || h.Clusters[1].Name != "stock" {
		t.Errorf("health: %+v", h)
	}
	l.prepare(t, l.reconfigured(t, func(*proxy.Config) {})).Apply()
	endedByProxy(other, its)
	l.ended(t, proxy.Drained)
	l.refused(t, "127.0.0.1:7092")
	beats(c, s, 1)
	finish(t, &l, c, s)
}

// A configuration that cannot be used changes nothing.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	for name, tt := range map[string]struct {
		edit func(conf *proxy.Config)
		want string
	}{
		"no cluster":        {func(conf *proxy.Config) { conf.Clusters = nil }, "there is no cluster"},
		"another state_dir": {func(conf *proxy.Config) { conf.StateDir = t.TempDir() }, "state_dir: it cannot change"},
		"a missing CA":      {func(conf *proxy.Config) { conf.Clusters[0].TLS = &config.UpstreamTLS{CA: "/nowhere/ca.pem"} }, "clusters.orders.tls.ca"},
		"a missing users": {func(conf *proxy.Config) {
			conf.Clusters[0].Listeners[0].Login = &config.Login{Mechanisms: []string{"PLAIN"}, UsersFile: "/nowhere/users"}
		}, "login"},
		"a second mistake": {func(conf *proxy.Config) {
			conf.StateDir = t.TempDir()
			conf.Clusters[0].TLS = &config.UpstreamTLS{CA: "/nowhere/ca.pem"}
		}, "clusters.orders.tls.ca"},
		"a new bad cluster": {func(conf *proxy.Config) { conf.Clusters = append(conf.Clusters, badCluster()) }, "clusters.bad.sasl"},
	} {
		conf := l.reconfigured(t, tt.edit)
		if _, err := l.proxy.Prepare(t.Context(), conf); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tt.want)
		}
	}
	beats(c, s, 1)
	other, its := l.sessionAt(t, "localhost:39092")
	finish(t, &l, other, its)
	finish(t, &l, c, s)
}

// badCluster is a valid cluster with a file that is missing.
func badCluster() config.Cluster {
	return config.Cluster{
		Name: "bad", Bootstrap: []string{"b:1"},
		SASL: &config.SASL{Mechanism: "PLAIN", Username: "u", Password: config.Secret{File: "/nowhere/password"}, AllowPlaintext: true},
		Listeners: []config.Listener{{
			Name: "worse", Bind: "127.0.0.1:7092", Nodes: config.Nodes{Ports: config.Range{First: 7100, Last: 7109}},
		}},
	}
}

// A Change that is discarded leaves nothing behind, and the next one can be prepared.
func TestDiscardAReload(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	conf := l.reconfigured(t, func(conf *proxy.Config) { conf.Clusters[0].Listeners[0].Bind = "127.0.0.1:7092" })
	first := l.prepare(t, conf)
	impatient, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	if _, err := l.proxy.Prepare(impatient, conf); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second Change beside the first: %v", err)
	}
	first.Discard()
	l.refused(t, "127.0.0.1:7092")
	l.prepare(t, conf).Discard()
	beats(c, s, 1)
	other, its := l.session(t, l.first)
	finish(t, &l, other, its)
	finish(t, &l, c, s)
}

func TestReloadBeforeStartAndAfterShutdown(t *testing.T) {
	t.Parallel()
	var l lab
	p, err := proxy.New(l.config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(t.Context(), l.config()); !errors.Is(err, proxy.ErrNotStarted) {
		t.Errorf("before Start: %v", err)
	}
	p.Shutdown(t.Context())
	c, s := l.open(t)
	finish(t, &l, c, s)
	conf := l.reconfigured(t, func(conf *proxy.Config) { conf.Clusters[0].Listeners[0].Bind = "127.0.0.1:7092" })
	change := l.prepare(t, conf)
	l.proxy.Shutdown(t.Context())
	change.Apply()
	l.refused(t, "127.0.0.1:7092")
	if _, err := l.proxy.Prepare(t.Context(), conf); !errors.Is(err, proxy.ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}

// The socket of a removed listener can go on as another server's, without a moment in which it
// refuses connections.
func TestFreedSocket(t *testing.T) {
	t.Parallel()
	var l lab
	host := portlab.Host(t)
	configure := func(of *lab) *proxy.Config {
		conf := of.config()
		conf.Listen = nil
		conf.Clusters[0].Listeners[0].Bind, conf.Clusters[0].Listeners[1].Bind = host+":9092", host+":19092"
		return conf
	}
	l.start(t, configure(&l))
	conf := configure(&lab{})
	conf.Clusters[0].Listeners = conf.Clusters[0].Listeners[:1]
	change := l.prepare(t, conf)
	if socket, err := change.Freed(host + ":9092"); socket != nil || err != nil {
		t.Errorf("an address that stays: %v, %v", socket, err)
	}
	socket, err := change.Freed(host + ":19092")
	if err != nil || socket == nil {
		t.Fatalf("%v, %v", socket, err)
	}
	defer func() { _ = socket.Close() }()
	change.Apply()
	near, err := net.Dial("tcp", host+":19092")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close() }()
	far, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
}

// If one address cannot be bound, none is.
func TestReloadBindsAllOrNone(t *testing.T) {
	t.Parallel()
	var l lab
	host := portlab.Host(t)
	configure := func(of *lab, bobs string) *proxy.Config {
		conf := of.config()
		conf.Listen = nil
		conf.Clusters[0].Listeners[0].Bind, conf.Clusters[0].Listeners[1].Bind = bobs, host+":19092"
		return conf
	}
	l.start(t, configure(&l, host+":9092"))
	taken, err := net.Listen("tcp", host+":9105")
	if err == nil {
		_ = taken.Close()
		t.Fatal("port 9105 is not bound")
	}
	elsewhere := portlab.Host(t)
	if taken, err = net.Listen("tcp", elsewhere+":9105"); err != nil {
		t.Fatal(err)
	}
	_, err = l.proxy.Prepare(t.Context(), configure(&lab{}, elsewhere+":9092"))
	if err == nil || !strings.Contains(err.Error(), "clusters.orders.listeners.bob: bind "+elsewhere+":9105") {
		t.Errorf("got %v", err)
	}
	for _, port := range []string{":9092", ":9100", ":9104"} {
		if conn, err := net.Dial("tcp", elsewhere+port); err == nil {
			_ = conn.Close()
			t.Errorf("%s is bound", port)
		}
	}
	_ = taken.Close()
	l.prepare(t, configure(&lab{}, elsewhere+":9092")).Apply()
	conn, err := net.Dial("tcp", elsewhere+":9105")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if conn, err := net.Dial("tcp", host+":9092"); err == nil {
		_ = conn.Close()
		t.Error("the old address is still bound")
	}
}
