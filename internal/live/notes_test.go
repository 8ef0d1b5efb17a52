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

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/certlab"
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
	l := newLab(t, brokers(t, 2, nil, kfake.EnableSASL(), alice)...)
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
	l := newLab(t, brokers(t, 2, nil, kfake.EnableSASL(), alice)...)
	l.cluster().SASL = login("alice-secret")
	l.serve(t)
	if r, faults := checked(t, l); len(faults) > 0 || noted(r, OK, Served) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
}

// A listener with TLS is tried without a client's configuration too, and by a client that
// trusts its authority.
func TestListenerTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t, brokers(t, 2, nil)...)
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
	l := newLab(t, brokers(t, 2, nil)...)
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
	l := newLab(t, brokers(t, 1, nil)...)
	l.listener().Deny = []string{"127.0.0.0/8"}
	l.serve(t)
	if r, faults := checked(t, l); len(faults) > 0 || noted(r, Note, NotChecked) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
	l = newLab(t, brokers(t, 1, nil)...)
	l.listener().Advertise = l.at(443)
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
	inner := newLab(t, brokers(t, 2, nil)...)
	inner.serve(t)
	outer := newLab(t, inner.at(9092))
	outer.serve(t)
	if r, faults := checked(t, outer); len(faults) > 0 || noted(r, OK, Served) != 1 {
		t.Errorf("%v\n%s", faults, show(r))
	}
}

// A peer's texts are one line each, of a bounded length.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	evil := "evil\x1b[31m\n" + strings.Repeat("x", 5000)
	l := newLab(t, brokers(t, 2, func(at []string) []string { return []string{at[0], evil + ":9092"} }, kfake.ClusterID(evil))[0])
	r, faults := checked(t, l)
	if len(faults) != 1 {
		t.Errorf("got %d faults", len(faults))
	}
	for _, f := range r.Findings {
		for _, text := range []string{f.Key, f.Address, f.Says, f.Fix} {
			if len(text) > 2*maxSays || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
	}
}

// Of many brokers the first are tried, a few at a time.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	const all = 130
	l := newLab(t, brokers(t, all, func(own []string) []string {
		for i := range own {
			if i > 0 {
				own[i] = fmt.Sprintf("127.0.0.1:%d", i) // nothing listens there
			}
		}
		return own
	})...)
	l.cluster().Bootstrap = l.cluster().Bootstrap[:1]
	l.listener().Nodes.Ports.Last = 9300
	r, faults := checked(t, l)
	if len(faults) != maxNodes-1 || noted(r, Note, NotChecked) != 1 || noted(r, OK, Fits) != 1 {
		t.Errorf("%d faults\n%s", len(faults), show(r))
	}
}

// A check ends with its context, whatever its peers do.
func TestEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	silent := viatest.NewGate(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	l := newLab(t, silent.Address)
	start := time.Now()
	if _, err := Check(ctx, &Options{Config: &proxy.Config{Config: l.conf}}); err != nil || time.Since(start) > tryTime/2 {
		t.Errorf("%v, after %v", err, time.Since(start))
	}
}

// Clients that bootstrap at no listener are reported.
func TestUnused(t *testing.T) {
	l := newLab(t, "b0.internal:9092")
	l.listener().Advertise = "Kafka.test:9092"
	plan, err := l.conf.Compile()
	if err != nil {
		t.Fatal(err)
	}
	clients := []Client{{File: "any"}, {File: "other", Bootstrap: []string{"other.test:9092"}}, {File: "own", Bootstrap: []string{"kafka.TEST.:9092"}}}
	if got := Unused(plan, clients); len(got) != 1 || got[0].File != "other" {
		t.Errorf("got %+v", got)
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
