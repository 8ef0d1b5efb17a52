package live

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy/config"
)

var alice = kfake.Superuser("PLAIN", "alice", "alice-secret")

func login(password string) *config.SASL {
	return &config.SASL{Mechanism: "PLAIN", Username: "alice", Password: config.Secret{Text: password}}
}

// planted is a fault, and how it is named: its key, its kind and its node.
type planted struct {
	name string
	plan func(t *testing.T) (*lab, []Client)
	want []string // faults
	says string   // a part of the texts
}

// Each fault on the way to the brokers is named with its key.
func TestFaultsUpstream(t *testing.T) {
	t.Parallel()
	for _, tt := range []planted{
		{"the name of a bootstrap address does not resolve", func(t *testing.T) (*lab, []Client) {
			return newLab(t, brokers(t, 1, nil)[0], "b1.vpc.invalid:9092"), nil
		}, []string{"clusters.c.bootstrap[1] name_unknown"}, "does not resolve"},
		{"nothing listens at bootstrap", func(t *testing.T) (*lab, []Client) {
			return newLab(t, portlab.Closed(t)), nil
		}, []string{"clusters.c.bootstrap[0] refused"}, "connection refused"},
		{"another service is at bootstrap", func(t *testing.T) (*lab, []Client) {
			return newLab(t, viatest.NewGate(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
				_, _ = io.Copy(io.Discard, c)
			}).Address), nil
		}, []string{"clusters.c.bootstrap[0] other_service"}, "an SSH server"},
		{"two clusters at bootstrap", func(t *testing.T) (*lab, []Client) {
			return newLab(t, brokers(t, 1, nil)[0], brokers(t, 1, nil, kfake.ClusterID("stranger"))[0]), nil
		}, []string{"clusters.c.bootstrap[1] another_cluster"}, `"stranger"`},
		{"bootstrap leads to kproxy itself", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.serve(t)
			l.cluster().Bootstrap = []string{"kafka.test:9092"}
			l.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, l.at(9092))
			}
			return l, nil
		}, []string{"clusters.c.bootstrap[0] loop"}, "kproxy itself"},
		{"no TLS where the brokers want it", func(t *testing.T) (*lab, []Client) {
			at, _ := secureBrokers(t, "127.0.0.1")
			return newLab(t, at...), nil
		}, []string{"clusters.c.tls tls_wanted"}, "wants TLS"},
		{"an authority that is not trusted", func(t *testing.T) (*lab, []Client) {
			at, _ := secureBrokers(t, "127.0.0.1")
			l := newLab(t, at...)
			l.cluster().TLS = &config.UpstreamTLS{CA: certlab.NewFolder(t).Write(t, "ca.pem", certlab.NewAuthority(t, "other").PEM)}
			return l, nil
		}, []string{"clusters.c.tls.ca tls_untrusted"}, "not trusted"},
		{"a broker's certificate without its name", func(t *testing.T) (*lab, []Client) {
			at, ca := secureBrokers(t, "broker.test")
			l := newLab(t, at...)
			l.cluster().TLS = &config.UpstreamTLS{CA: ca}
			return l, nil
		}, []string{"clusters.c.tls.server_name tls_wrong_name"}, "broker.test"},
		{"a wrong password", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil, kfake.EnableSASL(), alice)...)
			l.cluster().SASL = login("wrong")
			return l, nil
		}, []string{"clusters.c.sasl login_refused"}, `"alice"`},
		{"a mechanism that is not offered", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil, kfake.EnableSASL(), alice)...)
			l.cluster().SASL = &config.SASL{Mechanism: "OAUTHBEARER", OAuth: config.OAuth{TokenFile: certlab.NewFolder(t).Write(t, "token", []byte("a.b.c"))}}
			return l, nil
		}, []string{"clusters.c.sasl.mechanism login_mechanism"}, "does not offer"},
		{"one broker is down", func(t *testing.T) (*lab, []Client) {
			down := portlab.Closed(t)
			return newLab(t, brokers(t, 3, func(at []string) []string { return []string{at[0], down, at[2]} })[0]), nil
		}, []string{"clusters.c refused 1"}, "connection refused"},
		{"a broker's name is known inside only", func(t *testing.T) (*lab, []Client) {
			return newLab(t, brokers(t, 2, func(at []string) []string { return []string{at[0], "b1.vpc.invalid:9092"} })[0]), nil
		}, []string{"clusters.c name_unknown 1"}, "b1.vpc.invalid"},
		{"a dial rule leads to a closed port", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)[0])
			one := int32(1)
			l.cluster().Dial = []config.DialRule{{Match: "x:1", To: "x:2"}, {Node: &one, To: portlab.Closed(t)}}
			return l, nil
		}, []string{"clusters.c.dial[1] refused 1"}, "dialled at"},
		{"dial rules lead two nodes to one address", func(t *testing.T) (*lab, []Client) {
			at := brokers(t, 2, nil)
			l := newLab(t, at[0])
			one := int32(1)
			l.cluster().Dial = []config.DialRule{{Node: &one, To: at[0]}}
			return l, nil
		}, []string{"clusters.c.dial[0] dial_conflict 1"}, "another node's address"},
		{"dial rules lead crosswise", func(t *testing.T) (*lab, []Client) {
			at := brokers(t, 2, nil)
			l := newLab(t, at[0])
			zero, one := int32(0), int32(1)
			l.cluster().Dial = []config.DialRule{{Node: &zero, To: at[1]}, {Node: &one, To: at[0]}}
			return l, nil
		}, []string{"clusters.c.dial[0] another_node 0", "clusters.c.dial[1] another_node 1"}, "node 1 responds there"},
		{"brokers advertise each other's address", func(t *testing.T) (*lab, []Client) {
			return newLab(t, brokers(t, 2, func(at []string) []string { return []string{at[1], at[0]} })[0]), nil
		}, []string{"clusters.c another_node 0", "clusters.c another_node 1"}, "node 0 responds there"},
		{"a broker's address is not admitted", func(t *testing.T) (*lab, []Client) {
			at := brokers(t, 2, nil)
			l := newLab(t, at[0])
			l.cluster().Brokers = []string{at[0]}
			return l, nil
		}, []string{"clusters.c.brokers not_dialled 1"}, "not admitted"},
		{"a source address that the machine does not have", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.cluster().Source = []string{"192.0.2.7"}
			return l, nil
		}, []string{"clusters.c.source not_reached"}, "cannot assign"},
		{"brokers advertise a balancer", func(t *testing.T) (*lab, []Client) {
			return newLab(t, brokers(t, 2, func(at []string) []string { return []string{at[0], balancer(t, at[1], at[0])} })[0]), nil
		}, []string{"clusters.c load_balancer 1"}, "different nodes respond there"},
		{"a proxy that is down", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.cluster().Via = config.Via{URL: "socks5://" + portlab.Closed(t)}
			return l, nil
		}, []string{"clusters.c.via via_failed"}, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}

// run checks that the fault, and no other, is named.
func (p *planted) run(t *testing.T) {
	t.Parallel()
	l, clients := p.plan(t)
	r, faults := checked(t, l, clients...)
	if text := show(r); !slices.Equal(faults, p.want) || !strings.Contains(text, p.says) || strings.Contains(text, "alice-secret") {
		t.Errorf("got %q, want %q, with %q\n%s", faults, p.want, p.says, text)
	}
}

// secureBrokers starts a broker with TLS, and a certificate for a name. ca is the file of its
// authority.
func secureBrokers(t *testing.T, name string) (at []string, ca string) {
	t.Helper()
	authority := certlab.NewAuthority(t, "brokers")
	secure := serverTLS(authority.Issue(t, nil, name))
	return brokers(t, 1, nil, kfake.TLS(secure)), certlab.NewFolder(t).Write(t, "ca.pem", authority.PEM)
}

// Each fault on the way of clients is named with its key.
func TestFaultsDownstream(t *testing.T) {
	t.Parallel()
	const listener = "clusters.c.listeners.l"
	for _, tt := range []planted{
		{"a node outside the range", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 3, nil)...)
			l.listener().Nodes.FirstNode = 1
			return l, nil
		}, []string{listener + ".nodes.ports outside_range 0"}, "node 0 is outside the range 9100-9109"},
		{"a range that is too small", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 3, nil)...)
			l.listener().Nodes.Ports.Last = 9101
			l.serve(t)
			return l, nil
		}, []string{listener + ".nodes.ports no_slot 2"}, "the range 9100-9101 is full"},
		{"the advertised name does not resolve", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.listener().Advertise = "kafka.invalid:9092"
			return l, nil
		}, []string{listener + ".advertise name_unknown"}, "kafka.invalid"},
		{"a certificate without a node's name", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)...)
			cert, key := certlab.NewFolder(t).Pair(t, "l", certlab.NewAuthority(t, "servers").Issue(t, nil, "kafka.invalid", "b0.kafka.invalid"))
			l.listener().Advertise = "kafka.invalid:9092"
			l.listener().Nodes = config.Nodes{SNI: "b{node}.kafka.invalid:9092"}
			l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			return l, nil
		}, []string{listener + ".tls.certs name_not_covered", listener + ".advertise name_unknown", listener + ".nodes.sni name_unknown"}, "no certificate is for b1.kafka.invalid"},
		{"the kproxy that runs has another certificate", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			authority, folder := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
			old := l.served()
			cert, key := folder.Pair(t, "old", authority.Issue(t, nil, "old.test"))
			old.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			old.serve(t)
			cert, key = folder.Pair(t, "new", authority.Issue(t, nil, l.host))
			l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			return l, nil
		}, []string{listener + ".tls.certs tls_wrong_name", listener + ".tls.certs tls_wrong_name"}, "is not for this name"},
		{"bootstrap leads to another cluster", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.listener().Advertise = l.at(443)
			forward(t, l.at(443), brokers(t, 1, nil, kfake.ClusterID("stranger"))[0])
			l.serve(t)
			return l, nil
		}, []string{listener + ".advertise leads_elsewhere"}, `another cluster, "stranger"`},
		{"bootstrap leads to a broker", func(t *testing.T) (*lab, []Client) {
			at := brokers(t, 1, nil)
			l := newLab(t, at...)
			l.listener().Advertise = l.at(443)
			forward(t, l.at(443), at[0])
			l.serve(t)
			return l, nil
		}, []string{listener + ".advertise broker_heard 0"}, "bypass kproxy"},
		{"bootstrap leads to another listener", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.listener().Advertise = l.at(443)
			forward(t, l.at(443), l.at(9092))
			other := l.served()
			other.listener().Advertise = "other.test:9092"
			other.serve(t)
			return l, nil
		}, []string{listener + ".advertise leads_elsewhere"}, "no address of this listener"},
		{"bootstrap is refused, and kproxy listens", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.listener().Advertise = l.at(443)
			l.serve(t)
			return l, nil
		}, []string{listener + ".advertise refused"}, "connection refused"},
		{"another service at the advertised address", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.listener().Advertise = l.at(443)
			forward(t, l.at(443), viatest.NewGate(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
			}).Address)
			return l, nil
		}, []string{listener + ".advertise other_service"}, "an HTTP server"},
		{"the kproxy that runs has other pins", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)...)
			old := l.served()
			old.listener().Nodes.Pin = map[int32]int{1: 9109}
			old.serve(t)
			return l, nil
		}, []string{listener + ".nodes.ports other_address 1", listener + ".nodes.ports another_node 1"}, "for node 1"},
		{"ports are mapped crosswise", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(t, l.at(9200), l.at(9101))
			forward(t, l.at(9201), l.at(9100))
			l.serve(t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports another_node 0", listener + ".nodes.advertise_ports another_node 1"}, "node 1 responds there"},
		{"a node's port is mapped to its broker", func(t *testing.T) (*lab, []Client) {
			at := brokers(t, 2, nil)
			l := newLab(t, at...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(t, l.at(9200), l.at(9100))
			forward(t, l.at(9201), at[1])
			l.serve(t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports broker_heard 1"}, "bypass kproxy"},
		{"a node's port is mapped to all nodes in turn", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(t, l.at(9200), l.at(9100))
			forward(t, l.at(9201), balancer(t, l.at(9101), l.at(9100)))
			l.serve(t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports load_balancer 1"}, "different nodes respond there"},
		{"the kproxy that runs leaves a node out", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 3, nil)...)
			old := l.served()
			old.listener().Nodes.Ports.Last = 9101
			old.serve(t)
			return l, nil
		}, []string{listener + " node_left_out", listener + ".nodes.ports refused 2"}, "does not name node 2"},
		{"a node's port is not mapped", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 2, nil)...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(t, l.at(9200), l.at(9100))
			l.serve(t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports refused 1"}, "connection refused"},
		{"the client's password is wrong", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil, kfake.EnableSASL(), alice)...)
			l.serve(t)
			return l, []Client{{File: "client.properties", Bootstrap: []string{l.at(9092)}, SASL: login("wrong")}}
		}, []string{"clusters.c login_refused", listener + " login_refused"}, "client.properties"},
		{"the client speaks TLS, and the listener does not", func(t *testing.T) (*lab, []Client) {
			l := newLab(t, brokers(t, 1, nil)...)
			l.serve(t)
			return l, []Client{{File: "client.properties", Bootstrap: []string{l.at(9092)}, TLS: &config.UpstreamTLS{}}}
		}, []string{listener + ".tls tls_not_spoken"}, "client.properties"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}
