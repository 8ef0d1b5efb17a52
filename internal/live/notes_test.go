package live

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/certlab"
	"kproxy/internal/hostport"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// noted is the number of findings of a level and kind.
func noted(r *Report, level Level, kind Kind) (n int) {
	for _, f := range r.Findings {
		if f.Level == level && f.Kind == kind {
			n++
		}
	}
	return n
}

// Where clients log in, the check has notes about the checks that were not possible. With a
// client's configuration they are.
func TestLoginPassesThrough(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real, kfake.EnableSASL(), alice).At...)
	l.serve(t)
	r, faults := checked(t, l)
	if len(faults) > 0 || noted(r, Note, NotChecked) != 4 || noted(r, OK, Served) != 0 || !strings.Contains(show(r), "by PLAIN") {
		t.Errorf("without a client: %v\n%s", faults, show(r))
	}
	for name, client := range map[string]Client{
		"of this listener": {File: "c", Bootstrap: []string{"other:1", l.at(9092)}, SASL: login("alice-secret")},
		"of any listener":  {File: "c", SASL: login("alice-secret")},
	} {
		r, faults := checked(t, l, client)
		if len(faults) > 0 || noted(r, Note, NotChecked) != 0 || noted(r, OK, Served) != 1 {
			t.Errorf("with a client %s: %v\n%s", name, faults, show(r))
		}
	}
	r, faults = checked(t, l, Client{File: "c", Bootstrap: []string{"other:1"}, SASL: login("alice-secret")})
	if len(faults) > 0 || noted(r, OK, Served) != 0 {
		t.Errorf("with another listener's client: %v\n%s", faults, show(r))
	}
}

// Where kproxy logs in, a client without a login is the right one.
func TestLoginOfKproxy(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real, kfake.EnableSASL(), alice).At...)
	l.cluster().SASL = login("alice-secret")
	l.serve(t)
	if r, faults := checked(t, l); len(faults) > 0 || noted(r, OK, Served) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
	r, faults := checked(t, l, Client{File: "c", SASL: login("wrong")})
	if len(faults) != 1 || !strings.HasPrefix(faults[0], "clusters.c.listeners.l login_") {
		t.Errorf("a client with a login: %v\n%s", faults, show(r))
	}
}

// A listener with TLS is tried without a client's configuration too, and by a client that
// trusts its authority.
func TestListenerTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	authority, folder := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
	cert, key := folder.Pair(t, "l", authority.Issue(t, nil, l.host))
	l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}}
	l.serve(t)
	ca := folder.Write(t, "ca.pem", authority.PEM)
	other := folder.Write(t, "other.pem", certlab.NewAuthority(t, "other").PEM)
	for name, tt := range map[string]struct {
		clients []Client
		want    []string
	}{
		"no client":                  {nil, nil},
		"a client":                   {[]Client{{File: "c", TLS: &config.UpstreamTLS{CA: ca}}}, nil},
		"a client of another CA":     {[]Client{{File: "c", TLS: &config.UpstreamTLS{CA: other}}}, []string{"clusters.c.listeners.l.tls tls_untrusted"}},
		"a client that speaks plain": {[]Client{{File: "c"}}, []string{"clusters.c.listeners.l.tls tls_wanted"}},
	} {
		r, faults := checked(t, l, tt.clients...)
		if !slices.Equal(faults, tt.want) || (len(tt.want) == 0) != (noted(r, OK, Served) == 1) {
			t.Errorf("%s: got %v, want %v\n%s", name, faults, tt.want, show(r))
		}
	}
}

// A listener that asks for certificates is tried by a client that has one.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	authority, folder := certlab.NewAuthority(t, "all"), certlab.NewFolder(t)
	cert, key := folder.Pair(t, "l", authority.Issue(t, nil, l.host))
	ca := folder.Write(t, "ca.pem", authority.PEM)
	l.listener().TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: cert, Key: key}}, ClientCA: ca}
	l.serve(t)
	if r, faults := checked(t, l); len(faults) > 0 || noted(r, Note, NotChecked) != 1 {
		t.Errorf("no client: %v\n%s", faults, show(r))
	}
	if r, faults := checked(t, l, Client{File: "c", TLS: &config.UpstreamTLS{CA: ca, Cert: cert, Key: key}}); len(faults) > 0 || noted(r, OK, Served) != 1 {
		t.Errorf("a client: %v\n%s", faults, show(r))
	}
	if r, faults := checked(t, l, Client{File: "c", TLS: &config.UpstreamTLS{CA: ca}}); !slices.Equal(faults, []string{"clusters.c.listeners.l.tls.client_ca tls_client_wanted"}) {
		t.Errorf("a client without a certificate: %v\n%s", faults, show(r))
	}
}

// A listener that may refuse this machine is not at fault if it does. One that the caller skips
// is not tried.
func TestNotTried(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 1, kfakelab.Real).At...)
	l.listener().Deny = []string{"127.0.0.0/8"}
	l.serve(t)
	if r, faults := checked(t, l); len(faults) > 0 || noted(r, Note, NotChecked) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
	l = newLab(t, kfakelab.Start(t, 1, kfakelab.Real).At...)
	l.listener().Advertise = l.at(4430)
	l.serve(t)
	var skipped []string
	r, err := Check(t.Context(), &Options{Config: &proxy.Config{Config: l.conf}, Skip: func(key string) bool {
		skipped = append(skipped, key)
		return true
	}})
	if err != nil || r.Faults() > 0 || !slices.Equal(skipped, []string{"clusters.c.listeners.l"}) {
		t.Errorf("%v, %v\n%s", err, skipped, show(r))
	}
}

// A listener in front of another cluster's kproxy: the second one is checked as any cluster.
func TestKproxyBehindKproxy(t *testing.T) {
	t.Parallel()
	inner := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	inner.serve(t)
	outer := newLab(t, inner.at(9092))
	outer.serve(t)
	if r, faults := checked(t, outer); len(faults) > 0 || noted(r, OK, Served) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
}

// A broker's texts are one line each, of a bounded length. Ids that stand for no one broker, and
// addresses that are none, are faults.
func TestHostileBrokers(t *testing.T) {
	t.Parallel()
	evil := "evil\x1b[31m\n" + strings.Repeat("x", 5000)
	var at []string
	named := [][]kmsg.MetadataResponseBroker{{{NodeID: -5, Host: "b5.invalid", Port: 1}, {NodeID: 0}, {NodeID: 1, Host: evil, Port: 9092}, {NodeID: 2, Host: "0.0.0.0", Port: 9092}, {NodeID: 0, Host: "b0.invalid", Port: 1}}}
	at = lyingBrokers(t, evil, func() []kmsg.MetadataResponseBroker { return named[0] })
	host, port, _ := hostport.Parse(at[0])
	named[0][1].Host, named[0][1].Port = host, port
	l := newLab(t, at...)
	r, faults := checked(t, l)
	want := []string{"clusters.c id_invalid -5", "clusters.c id_invalid 0", "clusters.c address_invalid 1", "clusters.c wildcard 2"}
	if !slices.Equal(faults, want) {
		t.Errorf("got %v, want %v\n%s", faults, want, show(r))
	}
	for _, f := range r.Findings {
		for _, text := range []string{f.Key, f.Address, f.Says, f.Fix} {
			if utf8.RuneCountInString(text) > maxSays || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
	}
	two := int32(2)
	l.cluster().Dial = []config.DialRule{{Node: &two, To: kfakelab.Start(t, 1, kfakelab.Real, kfake.ClusterID(evil)).At[0]}}
	want[3] = "clusters.c.dial[0] another_node 2" // it was dialled there
	if r, faults := checked(t, l); !slices.Equal(faults, want) {
		t.Errorf("with a rule: got %v, want %v\n%s", faults, want, show(r))
	}
}

// lyingBrokers starts a broker that names other brokers than there are.
func lyingBrokers(t *testing.T, clusterID string, named func() []kmsg.MetadataResponseBroker) (at []string) {
	t.Helper()
	c := kfakelab.Start(t, 1, kfakelab.Real)
	c.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.ClusterID, resp.Brokers = &clusterID, named()
		return resp, nil, true
	})
	return c.At
}

// A broker that is down is one fault: its endpoint, which closes connections for that reason, is
// none.
func TestDownBehindKproxy(t *testing.T) {
	t.Parallel()
	down := portlab.Closed(t)
	l := newLab(t, kfakelab.Start(t, 3, func(at []string) []string { return []string{at[0], down, at[2]} }).At[0])
	l.serve(t)
	r, faults := checked(t, l)
	if !slices.Equal(faults, []string{"clusters.c refused 1"}) || noted(r, Note, NotChecked) != 1 || noted(r, OK, Served) != 1 {
		t.Errorf("got %v\n%s", faults, show(r))
	}
}

// A node outside the range may have any free endpoint: only its id is a fault.
func TestOverflowElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 3, kfakelab.Real).At...)
	l.listener().Nodes.FirstNode = 1
	old := l.served()
	old.listener().Nodes.Pin = map[int32]int{0: 9105}
	old.serve(t)
	r, faults := checked(t, l)
	if !slices.Equal(faults, []string{"clusters.c.listeners.l.nodes.ports outside_range 0"}) || noted(r, OK, Served) != 1 {
		t.Errorf("got %v\n%s", faults, show(r))
	}
}

// The login of a client at kproxy itself is not sent to the brokers.
func TestLoginAtKproxy(t *testing.T) {
	t.Parallel()
	line, err := auth.UserLine("alice", "alice-secret", auth.ScramSHA512, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	users := certlab.NewFolder(t).Write(t, "users", []byte(line+"\n"))
	client := Client{File: "c", SASL: &config.SASL{Mechanism: auth.ScramSHA512, Username: "alice", Password: config.Secret{Text: "alice-secret"}}}
	bob := kfake.Superuser("PLAIN", "bob", "bobs-secret")
	for name, tt := range map[string]struct {
		opts []kfake.Opt
		sasl *config.SASL
	}{
		"brokers without logins": {},
		"brokers with logins":    {[]kfake.Opt{kfake.EnableSASL(), bob}, &config.SASL{Mechanism: "PLAIN", Username: "bob", Password: config.Secret{Text: "bobs-secret"}}},
	} {
		l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real, tt.opts...).At...)
		l.cluster().SASL = tt.sasl
		l.listener().Login = &config.Login{Mechanisms: []string{auth.ScramSHA512}, UsersFile: users}
		l.serve(t)
		if r, faults := checked(t, l, client); len(faults) > 0 || noted(r, OK, Served) != 1 {
			t.Errorf("%s: %v\n%s", name, faults, show(r))
		}
		if r, faults := checked(t, l); len(faults) > 0 || noted(r, Note, NotChecked) != 1 {
			t.Errorf("%s, no client: %v\n%s", name, faults, show(r))
		}
		wrong := client
		wrong.SASL = &config.SASL{Mechanism: auth.ScramSHA512, Username: "alice", Password: config.Secret{Text: "wrong"}}
		if r, faults := checked(t, l, wrong); !slices.Equal(faults, []string{"clusters.c.listeners.l.login login_refused"}) {
			t.Errorf("%s, a wrong password: %v\n%s", name, faults, show(r))
		}
	}
}

// Of many brokers the first are tried, a few at a time.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	const all = 130
	l := newLab(t, kfakelab.Start(t, all, func(own []string) []string {
		for i := range own {
			if i > 0 {
				own[i] = fmt.Sprintf("127.0.0.1:%d", i) // nothing listens there
			}
		}
		return own
	}).At...)
	l.cluster().Bootstrap = l.cluster().Bootstrap[:1]
	l.listener().Nodes.Ports.Last = 9300
	r, faults := checked(t, l)
	if len(faults) != maxNodes-1 || noted(r, Note, NotChecked) != 1 || noted(r, OK, Fits) != 1 {
		t.Errorf("%d faults\n%s", len(faults), show(r))
	}
}

// A check ends with its context, whatever its peers do. An attempt that it ends is no fault.
func TestEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	silent := viatest.NewGate(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	l := newLab(t, silent.Address)
	start := time.Now()
	r, err := Check(ctx, &Options{Config: &proxy.Config{Config: l.conf}})
	if err != nil || time.Since(start) > tryTime/2 || r.Faults() > 0 {
		t.Errorf("%v, after %v\n%s", err, time.Since(start), show(r))
	}
}

// Clients that bootstrap at no listener are reported.
func TestUnused(t *testing.T) {
	clients := []Client{{File: "any"}, {File: "other", Bootstrap: []string{"other.test:9092"}}, {File: "own", Bootstrap: []string{"kafka.TEST.:9092"}}}
	if got := Unused([]string{"Kafka.test:9092"}, clients); len(got) != 1 || got[0].File != "other" {
		t.Errorf("got %+v", got)
	}
}

// A finding's texts are bounded, whatever their source.
func TestFindingsAreBounded(t *testing.T) {
	var f findings
	long := strings.Repeat("x\n", 1000)
	f.fault("k", Loop, long, long)
	if one := f.all[0]; utf8.RuneCountInString(one.Says) != maxSays || utf8.RuneCountInString(one.Fix) != maxSays || strings.Contains(one.Says, "\n") {
		t.Errorf("got %+v", one)
	}
}

// Nodes are named by ranges.
func TestNodesText(t *testing.T) {
	for want, ids := range map[string][]int32{
		"node 7": {7}, "nodes 0-2, 7": {0, 1, 2, 7}, "nodes 1, 3": {1, 3},
		"nodes 0, 2, 4, 6, 8, 10, 12, 14, 1 more range": {0, 2, 4, 6, 8, 10, 12, 14, 16},
	} {
		if got := nodesText(ids); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
