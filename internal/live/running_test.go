package live

import (
	"bytes"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/auth"
	"kproxy/internal/certlab"
	"kproxy/internal/connect"
	"kproxy/internal/kfakelab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy/config"
)

// running is the kproxy of the lab, which serves, as its admin server shows it.
func (l *lab) running(t *testing.T) *Running {
	t.Helper()
	l.runs.Table(t.Context()) // it waits until the brokers are known
	r := &Running{}
	for _, c := range l.runs.Topology().Clusters {
		cluster := Cluster{Key: "clusters." + c.Name, ID: c.ID, Responded: c.LastAnswer, Failed: c.LastFailed}
		if !c.Up && c.LastError != nil {
			cluster.Error = c.LastError.Error()
		}
		for _, at := range c.Listeners {
			key := cluster.Key + ".listeners." + at.Name
			listener := Listener{
				Key: key, BootstrapKey: key + ".advertise", NodesKey: key + ".nodes.advertise_ports",
				Bind: at.Bind, Advertised: at.Advertised, TLS: at.TLS, Endpoints: map[int32]Endpoint{},
			}
			cluster.Brokers = nil
			for _, n := range at.Nodes {
				listener.Endpoints[n.Broker.Node] = Endpoint{Bind: n.Bind, Advertised: n.Advertised, Dialled: n.Dialled}
				cluster.Brokers = append(cluster.Brokers, connect.Broker{Node: n.Broker.Node, Host: n.Broker.Host, Port: n.Broker.Port})
			}
			cluster.Listeners = append(cluster.Listeners, listener)
		}
		r.Clusters = append(r.Clusters, cluster)
	}
	return r
}

// first is the listener of the lab.
func (r *Running) first() *Listener { return &r.Clusters[0].Listeners[0] }

// checkRunning runs a check of a kproxy that runs.
func checkRunning(t *testing.T, running *Running, clients ...Client) (r *Report, faults []string) {
	t.Helper()
	r, err := Check(t.Context(), &Options{Running: running, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	return r, faultsOf(t, r)
}

// secured gives the listener of the lab a certificate for some names.
func (l *lab) secured(t *testing.T, change func(*x509.Certificate), names ...string) (ca string) {
	t.Helper()
	authority, folder := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
	cert, key := folder.Pair(t, "l", authority.Issue(t, change, names...))
	l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
	return folder.Write(t, "ca.pem", authority.PEM)
}

// A kproxy that runs, without faults. Its certificates are those that it shows.
func TestRunningSound(t *testing.T) {
	t.Parallel()
	plain := newLab(t, kfakelab.Start(t, 3, kfakelab.Real).At...)
	plain.serve(t)
	secure := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	ca := secure.secured(t, nil, secure.host)
	secure.serve(t)
	for name, tt := range map[string]struct {
		of      *lab
		clients []Client
		want    []Kind
	}{
		"plaintext":         {plain, nil, []Kind{Responds, Served}},
		"TLS":               {secure, nil, []Kind{Responds, Covered, NotChecked, Served}},
		"TLS with a client": {secure, []Client{{File: "c", TLS: &config.UpstreamTLS{CA: ca}}}, []Kind{Responds, Covered, Served}},
	} {
		r, faults := checkRunning(t, tt.of.running(t), tt.clients...)
		var kinds []Kind
		for _, f := range r.Findings {
			kinds = append(kinds, f.Kind)
		}
		if len(faults) > 0 || !slices.Equal(kinds, tt.want) {
			t.Errorf("%s: got %v, want %v\n%s", name, kinds, tt.want, show(r))
		}
	}
}

// Each fault on the way of clients to a kproxy that runs is named with its key.
func TestRunningFaults(t *testing.T) {
	t.Parallel()
	const listener = "clusters.c.listeners.l"
	const bootstrap, nodes, certs = listener + ".advertise ", listener + ".nodes.advertise_ports ", listener + ".tls.certs "
	mapped := func(p plot, at []string) *lab {
		l := newLab(p.t, at...)
		l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
		return l
	}
	for _, tt := range []struct {
		name string
		plan func(p plot) *lab
		want []string
		says string
	}{
		{"ports are mapped crosswise", func(p plot) *lab {
			l := mapped(p, kfakelab.Start(p.t, 2, kfakelab.Real).At)
			forward(p.t, l.at(9200), l.at(9101))
			forward(p.t, l.at(9201), l.at(9100))
			return l
		}, []string{nodes + "another_node 0", nodes + "another_node 1"}, "node 1 responds there"},
		{"a node's port is mapped to all nodes in turn", func(p plot) *lab {
			l := mapped(p, kfakelab.Start(p.t, 2, kfakelab.Real).At)
			forward(p.t, l.at(9200), l.at(9100))
			forward(p.t, l.at(9201), balancer(p.t, l.at(9101), l.at(9100)))
			return l
		}, []string{nodes + "load_balancer 1"}, "different nodes respond there"},
		{"a node's port is mapped to its broker", func(p plot) *lab {
			at := kfakelab.Start(p.t, 2, kfakelab.Real).At
			l := mapped(p, at)
			forward(p.t, l.at(9200), l.at(9100))
			forward(p.t, l.at(9201), at[1])
			return l
		}, []string{nodes + "broker_heard 1"}, "bypass kproxy"},
		{"a node's port is not mapped", func(p plot) *lab {
			l := mapped(p, kfakelab.Start(p.t, 2, kfakelab.Real).At)
			forward(p.t, l.at(9200), l.at(9100))
			return l
		}, []string{nodes + "refused 1"}, "on kproxy's machine"},
		{"the advertised name does not resolve", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = "kafka.invalid:9092"
			return l
		}, []string{bootstrap + "name_unknown"}, "kafka.invalid"},
		{"bootstrap is refused, and the nodes respond", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			return l
		}, []string{bootstrap + "refused"}, "nodes 0-1 respond, each as itself"},
		{"a server without TLS at the address of a listener with TLS", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.secured(p.t, nil, l.host)
			l.listener().Advertise = l.at(4430)
			plain := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			plain.serve(p.t)
			forward(p.t, l.at(4430), plain.at(9092))
			return l
		}, []string{listener + ".tls tls_not_spoken"}, "a balancer that takes TLS away"},
		{"TLS at the address of a listener without", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			at, _ := secureBrokers(p.t, "127.0.0.1")
			forward(p.t, l.at(4430), at[0])
			return l
		}, []string{listener + ".tls tls_wanted"}, "if a balancer before kproxy has"},
		{"bootstrap is refused, and a node's port is not mapped", func(p plot) *lab {
			l := mapped(p, kfakelab.Start(p.t, 2, kfakelab.Real).At)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(9200), l.at(9100))
			return l
		}, []string{bootstrap + "refused", nodes + "refused 1"}, "connection refused"},
		{"bootstrap leads to another cluster", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), kfakelab.Start(p.t, 1, kfakelab.Real, kfake.ClusterID("stranger")).At[0])
			return l
		}, []string{bootstrap + "leads_elsewhere"}, `another cluster, "stranger"`},
		{"bootstrap leads to a broker", func(p plot) *lab {
			at := kfakelab.Start(p.t, 1, kfakelab.Real).At
			l := newLab(p.t, at...)
			l.listener().Advertise = l.at(4430)
			forward(p.t, l.at(4430), at[0])
			return l
		}, []string{bootstrap + "broker_heard 0"}, "bypass kproxy"},
		{"a certificate for another name", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 2, kfakelab.Real).At...)
			l.secured(p.t, nil, "other.test")
			return l
		}, []string{certs + "tls_wrong_name"}, "is not for this name, but for other.test"},
		{"a certificate that has expired", func(p plot) *lab {
			l := newLab(p.t, kfakelab.Start(p.t, 1, kfakelab.Real).At...)
			l.secured(p.t, certlab.Expired, l.host)
			return l
		}, []string{certs + "tls_expired"}, "is valid from"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := tt.plan(plot{t})
			l.serve(t)
			r, faults := checkRunning(t, l.running(t))
			text := show(r)
			if !slices.Equal(faults, tt.want) || !strings.Contains(text, tt.says) || strings.Contains(text, "this configuration") {
				t.Errorf("got %q, want %q, with %q\n%s", faults, tt.want, tt.says, text)
			}
		})
	}
}

// Where clients log in, each endpoint is tried without a login, and a note names the rest.
func TestRunningLogin(t *testing.T) {
	t.Parallel()
	line, err := auth.UserLine("alice", "alice-secret", auth.ScramSHA512, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, kfakelab.Start(t, 3, kfakelab.Real).At...)
	l.listener().Nodes.AdvertisePorts = config.Range{First: 9200, Last: 9209}
	l.listener().Login = &config.Login{Mechanisms: []string{auth.ScramSHA512}, UsersFile: certlab.NewFolder(t).Write(t, "users", []byte(line+"\n"))}
	forward(t, l.at(9200), l.at(9101))
	forward(t, l.at(9201), l.at(9100))
	l.serve(t)
	r, faults := checkRunning(t, l.running(t))
	if !slices.Equal(faults, []string{"clusters.c.listeners.l.nodes.advertise_ports refused 2"}) || noted(r, Note, NotChecked) != 1 ||
		!strings.Contains(show(r), "and nodes 0-1 respond, and clients log in by SCRAM-SHA-512: the addresses that they hear, and whether each endpoint leads to its node, were not checked") {
		t.Errorf("got %q\n%s", faults, show(r))
	}
	client := Client{File: "c", SASL: &config.SASL{Mechanism: auth.ScramSHA512, Username: "alice", Password: config.Secret{Text: "alice-secret"}}}
	if r, faults := checkRunning(t, l.running(t), client); len(faults) != 3 || noted(r, Fault, "another_node") != 2 {
		t.Errorf("with a client: got %q\n%s", faults, show(r))
	}
	client.SASL.Password.Text = "wrong" // it is tried once
	if r, faults := checkRunning(t, l.running(t), client); !slices.Equal(faults, []string{"clusters.c.listeners.l login_refused"}) {
		t.Errorf("with a wrong password: got %q\n%s", faults, show(r))
	}
}

// A client's login is sent to no node's endpoint that the admin server alone names: the bootstrap endpoint has
// to name it, too.
func TestRunningLoginIsNotGivenAway(t *testing.T) {
	t.Parallel()
	line, err := auth.UserLine("alice", "alice-secret", auth.ScramSHA256, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, kfakelab.Start(t, 1, kfakelab.Real).At...)
	l.listener().Login = &config.Login{Mechanisms: []string{auth.Plain}, UsersFile: certlab.NewFolder(t).Write(t, "users", []byte(line+"\n"))}
	l.serve(t)
	client := Client{File: "c", Bootstrap: []string{l.at(9092)}, SASL: &config.SASL{Mechanism: auth.Plain, Username: "alice", Password: config.Secret{Text: "alice-secret"}, AllowPlaintext: true}}
	for name, tt := range map[string]struct {
		lie   func(*Running)
		fault string
	}{
		"the bootstrap endpoint is of another cluster": {func(r *Running) { r.Clusters[0].ID = "another" }, "leads_elsewhere"},
		"the bootstrap endpoint names another address": {func(*Running) {}, "leads_elsewhere"},
		"the bootstrap endpoint is refused": {func(r *Running) {
			r.first().Advertised = l.at(4430)
		}, "refused"},
	} {
		var sent bytes.Buffer
		var mu sync.Mutex // guards sent
		tap := viatest.NewGate(t, func(conn net.Conn) {
			pass(tapped{conn, func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				sent.Write(b)
			}}, l.at(9100))
		})
		running := l.running(t)
		tt.lie(running)
		at := running.first().Endpoints[0]
		at.Advertised = tap.Address
		running.first().Endpoints[0] = at
		client.Bootstrap = []string{running.first().Advertised}
		r, faults := checkRunning(t, running, client)
		tap.Cut()
		mu.Lock()
		if sent.Len() == 0 || bytes.Contains(sent.Bytes(), []byte("alice-secret")) {
			t.Errorf("%s: the node's endpoint has got %q\n%s", name, sent.Bytes(), show(r))
		}
		mu.Unlock()
		if len(faults) != 1 || !strings.Contains(faults[0], tt.fault) || !strings.Contains(show(r), "the login in c is only sent to addresses that it names") {
			t.Errorf("%s: %q\n%s", name, faults, show(r))
		}
	}
}

// tapped is a connection whose bytes are shown as they are read.
type tapped struct {
	net.Conn

	show func([]byte)
}

func (c tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.show(b[:n])
	return n, err
}

// Facts of the kproxy itself: it reaches no broker, it does not know the brokers, it remembers a
// node, it has many, and a replica that gives a node another address.
func TestRunningFacts(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	l.serve(t)
	for name, tt := range map[string]struct {
		change func(*Running)
		want   []string
		says   string
	}{
		"no broker responds": {func(r *Running) {
			r.Clusters[0].Error, r.Clusters[0].Failed = "connection refused", time.Now().Add(-9*time.Second)
		}, []string{"clusters.c cluster_down"}, "kproxy reaches no broker, 9s ago: connection refused"},
		"no broker was asked yet": {func(r *Running) { r.Clusters[0].Responded = time.Time{} }, nil, "whether kproxy reaches the brokers: it has not asked them yet"},
		"no broker is known": {func(r *Running) {
			r.Clusters[0].Brokers, r.first().Endpoints = nil, map[int32]Endpoint{}
		}, nil, l.at(9092) + " responds; "},
		"a node that the cluster has no more": {func(r *Running) {
			r.first().Endpoints[7] = Endpoint{Bind: l.at(9107), Advertised: l.at(9107)}
		}, nil, "does not name node 7, which kproxy remembers"},
		"a node that has joined since": {func(r *Running) { delete(r.first().Endpoints, 1) }, nil, "and node 0 respond as this listener"},
		"a replica with other pins": {func(r *Running) {
			r.first().Endpoints[1] = Endpoint{Bind: l.at(9105), Advertised: l.at(9105)}
			r.first().Endpoints[5] = Endpoint{Bind: l.at(9101), Advertised: l.at(9101)}
		}, []string{"clusters.c.listeners.l.nodes.advertise_ports other_address 1", "clusters.c.listeners.l.nodes.advertise_ports another_node 1", "clusters.c.listeners.l.nodes.advertise_ports another_node 5"}, "and kproxy gives it " + l.at(9105)},
		"many nodes": {func(r *Running) {
			for node := range int32(150) {
				if node > 1 {
					r.first().Endpoints[node] = Endpoint{Bind: l.at(int(9100 + node)), Advertised: l.at(int(9100 + node))}
				}
			}
		}, nil, "50 more endpoints were not tried"},
	} {
		running := l.running(t)
		tt.change(running)
		if r, faults := checkRunning(t, running); !slices.Equal(faults, tt.want) || !strings.Contains(show(r), tt.says) {
			t.Errorf("%s: got %q, want %q with %q\n%s", name, faults, tt.want, tt.says, show(r))
		}
	}
}

// Of many endpoints the first are tried.
func TestLimited(t *testing.T) {
	many := Listener{Endpoints: map[int32]Endpoint{}}
	for node := range int32(150) {
		many.Endpoints[node] = Endpoint{}
	}
	for node, e := range many.limited().Endpoints {
		if e.isUntried != (node >= maxNodes) {
			t.Errorf("node %d: %+v", node, e)
		}
	}
}

// A listener that wants a client's certificate shows its own all the same.
func TestRunningClientCertificate(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 1, kfakelab.Real).At...)
	ca := l.secured(t, nil, "other.test")
	l.listener().TLS.ClientCA = ca
	l.serve(t)
	r, faults := checkRunning(t, l.running(t))
	if !slices.Equal(faults, []string{"clusters.c.listeners.l.tls.certs tls_wrong_name"}) || noted(r, Note, NotChecked) != 1 || !strings.Contains(show(r), "wants a client's certificate") {
		t.Errorf("got %q\n%s", faults, show(r))
	}
}

// A listener that may refuse this machine is not at fault if it does.
func TestRunningRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 1, kfakelab.Real).At...)
	l.listener().Deny = []string{"127.0.0.0/8"}
	l.serve(t)
	running := l.running(t)
	running.first().Refuses = true
	if r, faults := checkRunning(t, running); len(faults) > 0 || noted(r, Note, NotChecked) != 1 {
		t.Errorf("got %q\n%s", faults, show(r))
	}
	running.first().Refuses = false
	if r, faults := checkRunning(t, running); len(faults) != 2 || !strings.Contains(show(r), "kproxy does not reach the broker at "+running.first().Endpoints[0].Dialled) {
		t.Errorf("got %q\n%s", faults, show(r))
	}
}
