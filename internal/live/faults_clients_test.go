package live

import (
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
	"kproxy/internal/kfakelab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy/config"
)

// Each fault on the way of clients is named with its key.
func TestFaultsDownstream(t *testing.T) {
	t.Parallel()
	const listener = "clusters.c.listeners.l"
	for _, tt := range []planted{
		{"a node outside the range", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 3, kfakelab.Real).At...)
			l.listener().Nodes.FirstNode = 1
			return l, nil
		}, []string{listener + ".nodes.ports outside_range 0"}, "node 0 is outside the range 9100-9109"},
		{"a range that is too small", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 3, kfakelab.Real).At...)
			l.listener().Nodes.Ports.Last = 9101
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.ports no_slot 2"}, "the range 9100-9101 is full"},
		{"the advertised name does not resolve", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = "kafka.invalid:9092"
			return l, nil
		}, []string{listener + ".advertise name_unknown"}, "kafka.invalid"},
		{"a certificate without a node's name", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			cert, key := certlab.NewFolder(p.t).Pair(p.t, "l", certlab.NewAuthority(p.t, "servers").Issue(p.t, nil, "kafka.invalid", "b0.kafka.invalid"))
			l.listener().Advertise = "kafka.invalid:9092"
			l.listener().Nodes = config.Nodes{SNI: "b{node}.kafka.invalid:9092"}
			l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			return l, nil
		}, []string{listener + ".tls.certs name_not_covered", listener + ".advertise name_unknown", listener + ".nodes.sni name_unknown"}, "no certificate is for b1.kafka.invalid"},
		{"the kproxy that runs has another certificate", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			authority, folder := certlab.NewAuthority(p.t, "servers"), certlab.NewFolder(p.t)
			old := l.served()
			cert, key := folder.Pair(p.t, "old", authority.Issue(p.t, nil, "old.test"))
			old.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			old.serve(p.t)
			cert, key = folder.Pair(p.t, "new", authority.Issue(p.t, nil, l.host))
			l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
			return l, nil
		}, []string{listener + ".tls.certs tls_wrong_name"}, "is not for this name, but for old.test"},
		{"bootstrap leads to another cluster", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), kfakelab.Start(p.t, 1, kfakelab.Real, kfake.ClusterID("stranger")).At[0])
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".advertise leads_elsewhere"}, `another cluster, "stranger"`},
		{"bootstrap leads to a broker", func(p plot) (*lab, []Client) {
			at := kfakelab.Start(p.t, 1, kfakelab.Real).At
			l := newLab(p.t, at...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), at[0])
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".advertise broker_heard 0"}, "bypass kproxy"},
		{"bootstrap leads to another listener", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), l.at(9092))
			other := l.served()
			other.listener().Advertise = "other.test:9092"
			other.serve(p.t)
			return l, nil
		}, []string{listener + ".advertise leads_elsewhere"}, "no address of this listener"},
		{"bootstrap is refused, and kproxy listens", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".advertise refused"}, "connection refused"},
		{"another service at the advertised address", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), viatest.NewGate(p.t, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
			}).Address)
			return l, nil
		}, []string{listener + ".advertise other_service"}, "an HTTP server"},
		{"the kproxy that runs has other pins", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			old := l.served()
			old.listener().Nodes.Pin = map[int32]int{1: 9109}
			old.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.ports other_address 1", listener + ".nodes.ports another_node 1"}, "for node 1"},
		{"ports are mapped crosswise", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(p.t, l.at(9200), l.at(9101))
			forward(p.t, l.at(9201), l.at(9100))
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports another_node 0", listener + ".nodes.advertise_ports another_node 1"}, "node 1 responds there"},
		{"a node's port is mapped to its broker", func(p plot) (*lab, []Client) {
			at := kfakelab.Start(p.t, 2, kfakelab.Real).At
			l := newLab(p.t, at...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(p.t, l.at(9200), l.at(9100))
			forward(p.t, l.at(9201), at[1])
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports broker_heard 1"}, "bypass kproxy"},
		{"a node's port is mapped to all nodes in turn", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(p.t, l.at(9200), l.at(9100))
			forward(p.t, l.at(9201), balancer(p.t, l.at(9101), l.at(9100)))
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports load_balancer 1"}, "different nodes respond there"},
		{"the kproxy that runs leaves a node out", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 3, kfakelab.Real).At...)
			old := l.served()
			old.listener().Nodes.Ports.Last = 9101
			old.serve(p.t)
			return l, nil
		}, []string{listener + " node_left_out", listener + ".nodes.ports refused 2"}, "does not name node 2"},
		{"a node's port is not mapped", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
			forward(p.t, l.at(9200), l.at(9100))
			l.serve(p.t)
			return l, nil
		}, []string{listener + ".nodes.advertise_ports refused 1"}, "connection refused"},
		{"the client's password is wrong", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real, kfake.EnableSASL(), alice).At...)
			l.serve(p.t)
			return l, []Client{{File: "client.properties", Bootstrap: []string{l.at(9092)}, SASL: login("wrong")}}
		}, []string{"clusters.c login_refused", listener + " login_refused"}, "client.properties"},
		{"the client speaks TLS, and the listener does not", func(p plot) (*lab, []Client) {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.serve(p.t)
			return l, []Client{{File: "client.properties", Bootstrap: []string{l.at(9092)}, TLS: &config.UpstreamTLS{}}}
		}, []string{listener + ".tls tls_not_spoken"}, "client.properties"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}
