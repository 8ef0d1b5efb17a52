//go:build e2e

package browser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/cluster"
	"kproxy/internal/endpoints"
	"kproxy/internal/events"
	"kproxy/internal/logkey"
	"kproxy/internal/page"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// state is that of a proxy that does not run.
type state struct {
	topology          proxy.Topology
	stats             proxy.Snapshot
	ring              events.Ring
	reasons, warnings []string
}

func (s *state) log() *slog.Logger { return slog.New(s.ring.Handler(slog.DiscardHandler)) }

// Topology implements api.Source.
func (s *state) Topology() proxy.Topology { return s.topology }

// Connections implements api.Source.
func (s *state) Connections() []proxy.Connection { return nil }

// Connection implements api.Source.
func (s *state) Connection(uint64) (c proxy.Connection, ok bool) { return c, false }

// Disconnect implements api.Source.
func (s *state) Disconnect(uint64) bool { return false }

// Health implements the proxy of admin.Readiness.
func (s *state) Health() proxy.Health { return proxy.Health{Bound: true} }

// Probe implements the proxy of admin.Readiness.
func (s *state) Probe(context.Context, string) {}

type served struct {
	state *state
	url   string
	stop  func()
}

// serve serves the state by a real admin server, on a loopback address.
func (s *state) serve(t *testing.T, token string) served {
	t.Helper()
	sampler := s.sample(t)
	conf := &admin.Config{Bind: "127.0.0.1:0"}
	if token != "" {
		conf.TokenFile = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(conf.TokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := &admin.Site{
		Config: conf, Ready: &admin.Readiness{Proxy: s}, Metrics: http.NotFoundHandler(),
		API: api.New(api.Parts{Source: s, Recent: sampler, Events: &s.ring}),
		Page: page.New(page.Parts{
			Topology: s.Topology, Recent: sampler, Events: &s.ring, Ready: func() (reasons, warnings []string) { return s.reasons, s.warnings },
			Generation: func() int { return 3 }, Version: "v0.9.0", Started: time.Now().Add(-50 * time.Hour),
		}),
	}
	server, err := admin.Listen(t.Context(), site, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop := func() { server.Close(context.Background()) }
	t.Cleanup(stop)
	return served{s, "http://" + server.Addr().String() + "/", stop}
}

// sample has ten minutes of traffic pass.
func (s *state) sample(t *testing.T) *recent.Sampler {
	t.Helper()
	var sampler *recent.Sampler
	synctest.Test(t, func(t *testing.T) {
		at := 0.0
		sampler = recent.New(func() proxy.Snapshot {
			at++
			return s.after(at)
		})
		ctx, cancel := context.WithCancel(t.Context())
		sampler.Start(ctx)
		time.Sleep(recent.Points*recent.Interval + time.Second) //nolint:forbidigo // the bubble's own time
		cancel()
		sampler.Wait()
	})
	return sampler
}

// after returns the counts after some intervals: waves of traffic.
func (s *state) after(at float64) proxy.Snapshot {
	now := s.stats
	now.Clusters = append([]proxy.ClusterStats(nil), now.Clusters...)
	for i := range now.Clusters {
		c := &now.Clusters[i]
		c.Listeners = append([]proxy.ListenerStats(nil), c.Listeners...)
		for j := range c.Listeners {
			l := &c.Listeners[j]
			size := float64(1 + i + 2*j)
			moved := func(scale, wave float64) int64 {
				return int64(scale / size * (at + 0.45*wave*math.Sin(at/wave) + 0.06*math.Sin(at*2.3+size) + 0.8*math.Sin(at/3.1)) * 5) // it never falls
			}
			l.Down = proxy.Direction{Copied: moved(90e3, 9), Spliced: moved(2.4e6, 14)}
			l.Up = proxy.Direction{Copied: moved(140e3, 11), Spliced: moved(700e3, 8)}
			l.Requests = []proxy.RequestCount{{Key: 0, Count: moved(220, 10)}}
			for k := range l.Active {
				l.Active = append([]proxy.NodeCount(nil), l.Active...)
				l.Active[k].Count += int64(2 + 2*math.Sin(at/7+float64(k)))
			}
		}
	}
	return now
}

// add adds a cluster with some listeners and brokers.
func (s *state) add(name string, brokers int, listeners ...string) *state {
	at := proxy.ClusterTopology{ClusterHealth: proxy.ClusterHealth{Name: name, Up: true, LastAnswer: time.Now().Add(-3 * time.Second)}, ID: "5L6g3nShT-eMCtK--X86sw"}
	stats := proxy.ClusterStats{Name: name, TLS: &proxy.TLSStats{Certificates: []proxy.CertificateStats{{File: "/etc/kproxy/" + name + ".pem", Expires: time.Now().Add(9 * 24 * time.Hour)}}}}
	for i, listener := range listeners {
		port := 9092 + 10000*i
		advertised := []string{"kafka.example.com", "localhost", "kproxy.svc"}[i%3]
		l := proxy.ListenerTopology{Name: listener, Bind: fmt.Sprintf("0.0.0.0:%d", port), Advertised: fmt.Sprintf("%s:%d", advertised, port), TLS: i == 0}
		counts := proxy.ListenerStats{Name: listener, Active: []proxy.NodeCount{{Node: proxy.NoNode, Count: 2}}}
		if l.TLS {
			counts.TLS = &proxy.TLSStats{Certificates: []proxy.CertificateStats{{File: "/etc/kproxy/edge.pem", Expires: time.Now().Add(200 * 24 * time.Hour)}}}
		}
		for b := range brokers {
			l.Nodes = append(l.Nodes, cluster.Place{
				Broker: endpoints.Broker{Node: int32(b), Host: fmt.Sprintf("ip-172-31-18-%d.us-west-2.compute.internal", 160+b), Port: 9092},
				Bind:   fmt.Sprintf("0.0.0.0:%d", port+8+b), Advertised: fmt.Sprintf("%s:%d", advertised, port+8+b), Dialled: fmt.Sprintf("172.31.18.%d:9092", (160+b)%256),
			})
			if b%4 != 3 {
				counts.Active = append(counts.Active, proxy.NodeCount{Node: int32(b), Count: int64(3 + (b*7+i)%9)})
			}
		}
		at.Listeners, stats.Listeners = append(at.Listeners, l), append(stats.Listeners, counts)
	}
	s.topology.Clusters, s.stats.Clusters = append(s.topology.Clusters, at), append(s.stats.Clusters, stats)
	return s
}

func demoState() *state {
	s := new(state).add("orders", 3, "edge", "fred")
	s.warnings = []string{"cluster orders, listener edge: node 1001 is outside the range and took a free slot; replicas may differ for it"}
	log := s.log()
	log.Info("serving")
	at := log.With(logkey.Cluster, "orders", logkey.Listener, "edge")
	for range 41 {
		at.Info("session closed", logkey.Reason, "client_closed", logkey.Client, "10.2.0.7:49690", logkey.ClientID, "billing", logkey.Node, 2)
	}
	at.Info("session closed", logkey.Reason, "client_reset", logkey.Client, "10.2.0.9:41200", logkey.ClientID, "search-indexer", logkey.Node, 1, logkey.Error, "connection reset by peer")
	for range 3 {
		at.Warn("session closed", logkey.Reason, "dial_failed", logkey.Client, "10.2.0.7:35912", logkey.ClientID, "billing", logkey.Node, 1,
			logkey.Error, "dial tcp 172.31.18.161:9092: connect: connection refused", logkey.Fix, "start the broker, or correct clusters.orders.dial")
	}
	return s
}

// docsState is that of the pictures in docs/.
func docsState() *state {
	s := demoState()
	s.warnings = nil
	return s
}

func manyState() *state {
	s := new(state)
	for i := range 3 {
		s.add(fmt.Sprintf("region-%d", i), 30, "edge", "fred", "internal")
	}
	return s.add("huge", 3000, "edge")
}

// brokenState has everything that can be wrong, and texts that are made to break a page.
func brokenState() *state {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>` + "\u202e\x1b[31m"
	s := new(state).add("orders", 3, "edge").add("audit", 0, "fred")
	s.reasons, s.warnings = []string{"no cluster has answered yet"}, []string{evil, strings.Repeat("a-long-word", 40)}
	orders := &s.topology.Clusters[0]
	orders.Up, orders.ID, orders.LastError, orders.Hidden = false, evil, errors.New("dial tcp 172.31.18.160:9092: i/o timeout"), []string{"Produce"}
	orders.Listeners[0].Nodes[0].Broker.Host, orders.Listeners[0].Nodes[1].Dialled = evil, ""
	orders.Listeners[0].Nodes[2].Advertised = strings.Repeat("a-name-without-an-end.", 9) + "example.com:9102"
	s.topology.Clusters[1].ClusterHealth = proxy.ClusterHealth{Name: "audit", LastError: errors.New("no such host")}
	s.stats.Clusters[0].TLS.Certificates[0].Expires = time.Now().Add(-time.Hour)
	s.stats.Clusters[0].Listeners[0].TLS.Stale = true
	for i := range 30 {
		s.log().With(logkey.Cluster, "orders", logkey.Listener, "edge").Error("session closed", logkey.Reason, fmt.Sprintf("reason_%d", i), logkey.Client, evil,
			logkey.ClientID, strings.Repeat("id", 300), logkey.Node, i, logkey.Error, evil, logkey.Fix, strings.Repeat("do this ", 50))
	}
	return s
}
