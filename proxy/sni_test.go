package proxy_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/certlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// sniLab has two clusters with a listener each, at one address.
type sniLab struct {
	lab
	conf *proxy.Config
	ca   map[string]*certlab.Authority // of each cluster's listener
}

func newSNILab(t *testing.T) *sniLab {
	t.Helper()
	l := &sniLab{ca: map[string]*certlab.Authority{}}
	l.conf = l.config()
	files := certlab.NewFolder(t)
	l.conf.Clusters = append(l.conf.Clusters, config.Cluster{Name: "audit", Bootstrap: []string{brokerName(10)}})
	for i := range l.conf.Clusters {
		c := &l.conf.Clusters[i]
		ca := certlab.NewAuthority(t, c.Name)
		l.ca[c.Name] = ca
		cert, key := files.Pair(t, c.Name, ca.Issue(t, nil, c.Name+".test", "*."+c.Name+".test"))
		c.Listeners = []config.Listener{{
			Name: "edge", Bind: "127.0.0.1:9093", Advertise: c.Name + ".test:443",
			Nodes: config.Nodes{SNI: "B{node}.{cluster}.test:443"},
			TLS:   &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}},
		}}
	}
	return l
}

// ask connects to the one address, asks for a name, and verifies it.
func (l *sniLab) ask(t *testing.T, cluster, name string) client {
	t.Helper()
	raw := l.dial(t, "127.0.0.1:9093")
	return client{newPeer(t, tls.Client(raw.conn, &tls.Config{RootCAs: l.ca[cluster].Pool(), ServerName: name}))}
}

// listenerStats are those of the listener of a cluster.
func (l *sniLab) listenerStats(cluster int) proxy.ListenerStats {
	return l.proxy.Stats().Clusters[cluster].Listeners[0]
}

func TestSNI(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	brokers := []*broker{l.startBroker(t, 0, 0, 1), l.startBroker(t, 1), l.startBroker(t, 10, 10)}
	l.start(t, l.conf)
	_ = l.proxy.Table(t.Context()) // waits until both clusters are known
	for _, tt := range []struct {
		cluster, name string
		broker        int // by place
	}{
		{"orders", "orders.test", 0},
		{"orders", "b0.orders.test", 0},
		{"orders", "B1.Orders.test", 1},
		{"audit", "audit.test", 2},
		{"audit", "b10.audit.test", 2},
	} {
		c := l.ask(t, tt.cluster, tt.name)
		heartbeatThrough(t, &l.lab, brokers[tt.broker], c)
	}
	orders, audit := l.listenerStats(0), l.listenerStats(1)
	if orders.Opened != 3 || audit.Opened != 2 || len(orders.Active)+len(audit.Active) != 0 {
		t.Errorf("orders counts %d, audit %d sessions, want 3 and 2", orders.Opened, audit.Opened)
	}
}

// Clients are told names, by the formula that all replicas have.
func TestSNIIsTold(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	b := l.startBroker(t, 0, 0, 1)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	c := l.ask(t, "orders", "orders.test")
	c.send(1, metadataRequest(9))
	s := b.take()
	s.request(kmsg.Metadata, 1)
	answer := metadataRequest(9).ResponseKind().(*kmsg.MetadataResponse)
	answer.Brokers = brokersNamed(0, 1, 1001)
	s.answer(1, answer)
	told := metadataRequest(9).ResponseKind().(*kmsg.MetadataResponse)
	c.receive(1, told)
	for i, node := range []int{0, 1, 1001} {
		want := fmt.Sprintf("b%d.orders.test:443", node)
		if got := fmt.Sprintf("%s:%d", told.Brokers[i].Host, told.Brokers[i].Port); got != want {
			t.Errorf("node %d is told as %s, want %s", node, got, want)
		}
	}
}

// A root dot and upper case in the configuration make no other name, and clients are
// told none.
func TestSNIWrittenOtherwise(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	for i := range l.conf.Clusters {
		edge := &l.conf.Clusters[i].Listeners[0]
		edge.Advertise = strings.ToUpper(l.conf.Clusters[i].Name) + ".Test.:443"
		edge.Nodes.SNI = "B{node}.{cluster}.TEST.:443"
	}
	b := l.startBroker(t, 0, 0)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	rows := l.proxy.Table(t.Context())
	if rows[0].Bootstrap != "orders.test:443" || rows[0].Advertised != "b0.orders.test:443" {
		t.Errorf("clients are told %+v", rows[0])
	}
	plan, err := l.conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for _, planned := range plan.Endpoints() {
		if planned.FirstNode == config.AnyNode && planned.Cluster == "orders" && planned.FirstAdvertised != "b{node}.orders.test:443" {
			t.Errorf("the plan has %+v", planned)
		}
	}
	for _, name := range []string{"orders.test", "b0.orders.test", "B0.Orders.Test"} {
		heartbeatThrough(t, &l.lab, b, l.ask(t, "orders", name))
	}
}

// A name that has the form of a node's makes no node: until the cluster names it,
// the endpoint serves what it takes to learn, and no more.
func TestSNIOfANodeNotYetKnown(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	b := l.startBroker(t, 0, 0)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	c := l.ask(t, "orders", "b7.orders.test")
	c.send(1, metadataRequest(9))
	s := b.take()
	s.request(kmsg.Metadata, 1)
	answer := metadataRequest(9).ResponseKind().(*kmsg.MetadataResponse)
	answer.Brokers = brokersNamed(0)
	s.answer(1, answer)
	c.receive(1, metadataRequest(9).ResponseKind().(*kmsg.MetadataResponse))
	c.send(2, heartbeat())
	s.eof()
	s.close()
	_, _ = c.ended()
	l.ended(t, proxy.Relearn)
	for _, count := range l.listenerStats(0).Closed {
		if count.Node != proxy.UnknownNode && count.Node != proxy.NoNode {
			t.Errorf("a session is counted for node %d, which nobody but a client has named", count.Node)
		}
	}
}

func TestUnknownSNI(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, tt := range []struct {
		name   string
		policy config.UnknownSNI // of audit
		asks   string            // "": no name
		want   proxy.CloseReason
		logs   []string
	}{
		{"a server name of no endpoint", "", "eve.test", proxy.TLSUnknownName, []string{`eve.test`, "unknown_sni"}},
		{"no server name (SNI)", "", "", proxy.TLSNoName, []string{"no server name", "unknown_sni"}},
		{"a node's name with a zero in front", config.SNIRefuse, "b07.orders.test", proxy.TLSUnknownName, nil},
		{"the same, `unknown_sni: bootstrap`", config.SNIBootstrap, "eve.test", proxy.ClientClosed, []string{"server_name=eve.test"}},
		{"no server name, `unknown_sni: bootstrap`", config.SNIBootstrap, "", proxy.ClientClosed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			documented(t, tt.name, tt.want)
			l := newSNILab(t)
			l.conf.Clusters[1].Listeners[0].UnknownSNI = tt.policy
			l.startBroker(t, 0, 0)
			audit := l.startBroker(t, 10, 10)
			l.start(t, l.conf)
			raw := l.dial(t, "127.0.0.1:9093")
			c := client{newPeer(t, tls.Client(raw.conn, &tls.Config{ServerName: tt.asks, InsecureSkipVerify: true}))}
			if tt.want == proxy.ClientClosed {
				heartbeatThrough(t, &l.lab, audit, c)
			} else {
				_ = c.tryWrite(requestFrame(1, heartbeat()))
				_, _ = c.ended()
				l.ended(t, tt.want)
			}
			l.log.has(t, append(tt.logs, "reason="+string(tt.want))...)
			if tt.want == proxy.ClientClosed {
				return
			}
			if n := l.listenerStats(0).Opened; n != 1 {
				t.Errorf("the first listener counts %d sessions, want the one that is nobody's", n)
			}
		})
	}
}

// Who may come in is each listener's own, and asked when the name is known.
func TestSNIGates(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	l := newSNILab(t)
	l.conf.Clusters[1].Listeners[0].Deny = []string{"127.0.0.0/8"}
	l.conf.Clusters[0].Listeners[0].Limits.MaxConnections = 1
	orders := l.startBroker(t, 0, 0)
	l.startBroker(t, 10, 10)
	l.start(t, l.conf)
	refused := func(cluster string, want proxy.CloseReason) {
		t.Helper()
		c := l.ask(t, cluster, cluster+".test")
		_ = c.tryWrite(requestFrame(1, heartbeat()))
		_, _ = c.ended()
		l.ended(t, want)
	}
	refused("audit", proxy.NotAllowed)
	for range 2 {
		c := l.ask(t, "orders", "orders.test")
		c.send(0, heartbeat())
		s := orders.take()
		s.request(kmsg.Heartbeat, 0)
		s.answer(0, heartbeatAnswer())
		c.receive(0, heartbeatAnswer())
		refused("orders", proxy.TooManyConnections)
		finish(t, &l.lab, c, s)
	}
}
