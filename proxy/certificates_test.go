package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// watching makes the edge's files be looked at without delay.
func watching(t *testing.T) *edgeLab {
	t.Helper()
	l := newEdgeLab(t)
	l.conf.WatchInterval = 5 * time.Millisecond
	return l
}

// New clients get a replaced certificate, and the existing connection goes on. An invalid
// certificate changes nothing, and is logged once.
func TestCertificateIsReplaced(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := watching(t)
	b := l.startBroker(t, 0, 0)
	l.start(t, l.conf)
	before := l.come(t, "bob.test:9092", l.client(t))
	before.send(0, heartbeat())
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	before.receive(0, heartbeatAnswer())

	next := l.servers.Issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "next" }, "bob.test", "localhost")
	l.files.Pair(t, "edge", next)
	l.log.has(t, "level=INFO", "new connections use the new ones", "listener=bob")
	shown := func() string {
		t.Helper()
		c := l.come(t, "bob.test:9092", l.client(t))
		heartbeatThrough(t, &l.lab, b, c)
		return c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "next" {
		t.Errorf("a new client is shown %q", got)
	}

	l.files.Write(t, "edge.pem", []byte("no certificate"))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !l.proxy.Stats().Clusters[0].Listeners[0].TLS.Stale {
		<-tick.C
	}
	l.log.has(t, "level=ERROR", "are no good", "listener=bob", "edge.pem")
	if got := shown(); got != "next" {
		t.Errorf("with a bad file a new client gets %q, want the last valid certificate", got)
	}

	before.send(1, heartbeat())
	s.request(kmsg.Heartbeat, 1)
	s.answer(1, heartbeatAnswer())
	before.receive(1, heartbeatAnswer())
	finish(t, &l.lab, before, s)
}

// A client that an authority let in is not let in by its ticket when another has
// taken the authority's place.
func TestTicketFromBeforeTheCAWasReplaced(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			l := watching(t)
			b := l.startBroker(t, 0, 0)
			l.start(t, l.conf)
			config := l.client(t)
			config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
			heartbeatThrough(t, &l.lab, b, l.come(t, "bob.test:9092", config))
			l.files.Write(t, "bob.ca", l.clients["fred"].PEM)
			l.log.has(t, "new connections use the new ones", "listener=bob")
			c := l.come(t, "bob.test:9092", config)
			_ = c.tryWrite(requestFrame(1, heartbeat()))
			_, _ = c.ended()
			l.ended(t, proxy.TLSNoCertificate)
		})
	}
}

// Brokers are shown the new certificate, too.
func TestBrokersCAIsReplaced(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	conf := l.trusting(t)
	conf.WatchInterval = 5 * time.Millisecond
	wrong := certlab.NewAuthority(t, "wrong")
	l.files.Write(t, "ca.pem", wrong.PEM)
	b := l.startBroker(t, 0, 0)
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	c.send(1, heartbeat())
	_, _ = c.ended()
	l.ended(t, proxy.DialFailed)
	l.files.Write(t, "ca.pem", l.ca.PEM)
	l.log.has(t, "new connections use the new ones", "cluster=orders")
	c = l.dial(t, "bob.test:9092")
	c.send(1, heartbeat())
	s := b.take()
	for _, err := s.tryRequest(); err != nil; _, err = s.tryRequest() {
		s = b.take() // behind those that were refused
	}
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
}

// Advertised names must be in a certificate, or clients refuse it.
func TestUncovered(t *testing.T) {
	ca, files := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
	for _, tt := range []struct {
		name  string
		names []string // in the certificate
		nodes config.Nodes
		want  string // "": all are there
	}{
		{"one name for all ports", []string{"kafka.test"}, config.Nodes{Ports: config.Range{First: 9100, Last: 9199}}, ""},
		{"another name", []string{"other.test"}, config.Nodes{Ports: config.Range{First: 9100, Last: 9199}}, "no certificate is for kafka.test,"},
		{"addresses", []string{"kafka.test", "127.0.1.1"}, config.Nodes{Addresses: "127.0.1.{slot}:9092", Slots: config.Range{First: 1, Last: 7}}, "127.0.1.2, 127.0.1.3, 127.0.1.4, 127.0.1.5, 127.0.1.6 and 1 more,"},
		{"names, by a wildcard", []string{"kafka.test", "*.kafka.test"}, config.Nodes{SNI: "b{node}.kafka.test:443"}, ""},
		{"names, one by one", []string{"kafka.test", "b1.kafka.test", "b2.kafka.test"}, config.Nodes{SNI: "b{node}.kafka.test:443"}, ""},
		{"no node's name", []string{"kafka.test", "*.test"}, config.Nodes{SNI: "b{node}.kafka.test:443"}, "no certificate is for b0.kafka.test,"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := files.Pair(t, "edge", ca.Issue(t, nil, tt.names...))
			p, err := proxy.New(&proxy.Config{Config: config.Config{Clusters: []config.Cluster{{
				Name: "orders", Bootstrap: []string{"b:9092"},
				Listeners: []config.Listener{{
					Name: "edge", Bind: "127.0.0.1:9093", Advertise: "kafka.test:443", Nodes: tt.nodes,
					TLS: &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}},
				}},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			errs := p.UncoveredNames()
			switch {
			case tt.want == "" && len(errs) == 0:
			case tt.want == "" || len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want):
				t.Errorf("got %v, want %q", errs, tt.want)
			}
		})
	}
}

// New names the key of every file that cannot be read.
func TestUnreadableFiles(t *testing.T) {
	ca, files := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
	cert, key := files.Pair(t, "edge", ca.Issue(t, nil, "bob.test"))
	_, other := files.Pair(t, "other", ca.Issue(t, nil, "bob.test"))
	for name, tt := range map[string]struct {
		edit func(c *config.Cluster)
		want []string
	}{
		"missing":           {func(c *config.Cluster) { c.Listeners[0].TLS.Certs[0].Cert = cert + "x" }, []string{"clusters.orders.listeners.bob.tls", cert + "x"}},
		"another's key":     {func(c *config.Cluster) { c.Listeners[0].TLS.Certs[0].Key = other }, []string{"clusters.orders.listeners.bob.tls", other, "does not match"}},
		"a CA of upstreams": {func(c *config.Cluster) { c.TLS = &config.UpstreamTLS{CA: key} }, []string{"clusters.orders.tls", "PRIVATE KEY"}},
	} {
		t.Run(name, func(t *testing.T) {
			var l lab
			conf := l.config()
			conf.Clusters[0].Listeners[0].TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			tt.edit(&conf.Clusters[0])
			_, err := proxy.New(conf)
			if err == nil || slices.ContainsFunc(tt.want, func(part string) bool { return !strings.Contains(err.Error(), part) }) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
