package live

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"kproxy/internal/certlab"
	"kproxy/internal/namelab"
	"kproxy/internal/portlab"
	"kproxy/internal/racelab"
	"kproxy/internal/via/viatest"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

func TestMain(m *testing.M) {
	namelab.Use()
	racelab.WaitTogether()
	m.Run()
}

// lab is a configuration with a cluster "c" and a listener "l", on a host of its own.
type lab struct {
	host string
	conf config.Config
	dial func(ctx context.Context, network, address string) (net.Conn, error) // of the check; nil: net.Dialer
	runs *proxy.Proxy                                                         // by serve
}

// newLab makes a configuration before a cluster.
func newLab(t *testing.T, bootstrap ...string) *lab {
	t.Helper()
	l := &lab{host: portlab.Host(t)}
	l.conf.Clusters = []config.Cluster{{
		Name: "c", Bootstrap: bootstrap,
		Listeners: []config.Listener{{Name: "l", Bind: l.at(9092), Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9109}}}},
	}}
	return l
}

func (l *lab) at(port int) string { return fmt.Sprintf("%s:%d", l.host, port) }

func (l *lab) cluster() *config.Cluster   { return &l.conf.Clusters[0] }
func (l *lab) listener() *config.Listener { return &l.conf.Clusters[0].Listeners[0] }

// served returns a copy of the configuration, for a kproxy that runs with another one.
func (l *lab) served() *lab {
	other := &lab{host: l.host, conf: l.conf}
	other.conf.Clusters = slices.Clone(l.conf.Clusters)
	other.conf.Clusters[0].Listeners = slices.Clone(l.conf.Clusters[0].Listeners)
	return other
}

// serve runs a kproxy with the configuration, and waits until it knows the brokers, if it can
// learn them without a client.
func (l *lab) serve(t *testing.T) {
	t.Helper()
	p, err := proxy.New(&proxy.Config{Config: l.conf})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.runs = p
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		p.Shutdown(ended)
	})
}

// forward leads an address to another one.
func forward(t *testing.T, from, to string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(conn, to) // ends with the connections
		}
	}()
}

// balancer leads connections to addresses in turn, the first one to the first.
func balancer(t *testing.T, to ...string) (address string) {
	t.Helper()
	var turn atomic.Int64
	return viatest.NewGate(t, func(conn net.Conn) { pass(conn, to[int(turn.Add(1)-1)%len(to)]) }).Address
}

// pass passes bytes between a connection and an address, until one side ends.
func pass(conn net.Conn, to string) {
	defer func() { _ = conn.Close() }()
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	go func() { // ends with the connections
		_, _ = io.Copy(far, conn)
		_ = far.Close()
	}()
	_, _ = io.Copy(conn, far)
}

// checked runs a check. faults has "key kind" for each fault, with the node behind it.
func checked(t *testing.T, l *lab, clients ...Client) (r *Report, faults []string) {
	t.Helper()
	r, err := Check(t.Context(), &Options{Config: &proxy.Config{Config: l.conf, Dial: l.dial}, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	return r, faultsOf(t, r)
}

// faultsOf returns "key kind" for each fault, with the node behind it.
func faultsOf(t *testing.T, r *Report) (faults []string) {
	t.Helper()
	for _, f := range r.Findings {
		if !strings.HasPrefix(f.Key, "clusters.c") || f.Says == "" || (f.Level == Fault) && f.Fix == "" || f.Level == OK && f.Fix != "" {
			t.Errorf("finding %+v", f)
		}
		if f.Level != Fault {
			continue
		}
		word := f.Key + " " + string(f.Kind)
		if f.Node != nil {
			word += fmt.Sprintf(" %d", *f.Node)
		}
		faults = append(faults, word)
	}
	return faults
}

// show lists the findings for a failed test.
func show(r *Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s: %s; %s\n", f.Level, f.Key, f.Kind, f.Says, f.Fix)
	}
	return b.String()
}

func serverTLS(id certlab.Identity) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{id.Pair}, MinVersion: tls.VersionTLS12}
}
