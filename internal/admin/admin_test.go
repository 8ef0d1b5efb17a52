package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/proxy"
)

// fake is a proxy with a test's health, which notes the probed clusters.
type fake struct {
	health proxy.Health
	probed chan string
}

func (f *fake) Health() proxy.Health                 { return f.health }
func (f *fake) Probe(_ context.Context, name string) { f.probed <- name }

// up, lost and silent are the states of a cluster.
func up(name string) proxy.ClusterHealth {
	return proxy.ClusterHealth{Name: name, Up: true, LastAnswer: time.Unix(100, 0), Brokers: 3}
}

func lost(name string) proxy.ClusterHealth {
	return proxy.ClusterHealth{
		Name: name, LastAnswer: time.Unix(100, 0), Brokers: 3,
		LastError: errors.New("no broker can be reached"), LastFailed: time.Unix(200, 0),
	}
}

func silent(name string) proxy.ClusterHealth { return proxy.ClusterHealth{Name: name} }

var discard = slog.New(slog.DiscardHandler)

func TestReadyz(t *testing.T) {
	tests := []struct {
		name    string
		health  proxy.Health
		all     bool
		query   string
		status  int
		reasons []string
		probed  []string
	}{
		{name: "ready", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), up("b")}}, status: 200},
		{name: "one has answered", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{silent("a"), up("b")}}, status: 200},
		{name: "a later loss", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{lost("a"), silent("b")}}, status: 200},
		{
			name: "none has answered", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{silent("a"), silent("b")}},
			status: 503, reasons: []string{"no cluster has answered yet"},
		},
		{
			name: "not bound", health: proxy.Health{Clusters: []proxy.ClusterHealth{silent("a")}},
			status: 503, reasons: []string{"the listeners are not bound yet", "no cluster has answered yet"},
		},
		{
			name: "stopping", health: proxy.Health{Bound: true, Stopping: true, Clusters: []proxy.ClusterHealth{up("a")}},
			status: 503, reasons: []string{"kproxy is stopping"},
		},
		{
			name: "all are up", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), up("b")}}, all: true,
			status: 200, probed: []string{"a", "b"},
		},
		{
			name: "all, one is lost", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), lost("b")}}, all: true,
			status: 503, reasons: []string{"cluster b does not answer"}, probed: []string{"a", "b"},
		},
		{
			name: "one by name", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), lost("b")}}, query: "?cluster=a",
			status: 200, probed: []string{"a"},
		},
		{
			name: "one by name, where all are asked", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), lost("b")}},
			all: true, query: "?cluster=a", status: 200, probed: []string{"a"},
		},
		{
			name: "a lost one by name", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), lost("b")}}, query: "?cluster=b",
			status: 503, reasons: []string{"cluster b does not answer"}, probed: []string{"b"},
		},
		{
			name: "an empty name", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), up("b")}}, query: "?cluster=",
			status: 404, reasons: []string{`there is no cluster ""; there is a, b`},
		},
		{
			name: "a mistyped parameter", health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{up("a"), lost("b")}}, query: "?clust=b",
			status: 404, reasons: []string{`there is no parameter "clust"; there is cluster`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{health: tt.health, probed: make(chan string, 10)}
			status, body := get(t, listen(t, &admin.Readiness{Proxy: f, All: tt.all}), "/readyz"+tt.query)
			var got struct {
				Ready    bool
				Reasons  []string
				Clusters map[string]map[string]any
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if status != tt.status || got.Ready != (status == 200) || !slices.Equal(got.Reasons, tt.reasons) {
				t.Errorf("got %d %s, want %d %q", status, body, tt.status, tt.reasons)
			}
			if status != 404 && len(got.Clusters) != len(tt.health.Clusters) {
				t.Errorf("got %d clusters, want %d", len(got.Clusters), len(tt.health.Clusters))
			}
			close(f.probed)
			var probed []string
			for name := range f.probed {
				probed = append(probed, name)
			}
			slices.Sort(probed)
			if !slices.Equal(probed, tt.probed) {
				t.Errorf("probed %q, want %q", probed, tt.probed)
			}
		})
	}
}

// People and scripts read the body of /readyz: it must not change.
func TestReadyzBody(t *testing.T) {
	f := &fake{health: proxy.Health{Bound: true, Stopping: true, Clusters: []proxy.ClusterHealth{lost("a"), silent("b")}}}
	const want = `{
  "ready": false,
  "reasons": [
    "kproxy is stopping"
  ],
  "clusters": {
    "a": {
      "up": false,
      "brokers": 3,
      "last_answer": "1970-01-01T00:01:40Z",
      "last_error": "no broker can be reached",
      "last_failed": "1970-01-01T00:03:20Z"
    },
    "b": {
      "up": false,
      "brokers": 0
    }
  }
}
`
	if _, got := get(t, listen(t, &admin.Readiness{Proxy: f}), "/readyz"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Errors quote brokers: they are one line, and bounded.
func TestReadyzBoundsErrors(t *testing.T) {
	c := lost("a")
	c.LastError = errors.Join(errors.New("dial b0: down"), errors.New("dial \x1b[2J"+strings.Repeat("x", 32<<10)))
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{c}}}
	_, got := get(t, listen(t, &admin.Readiness{Proxy: f}), "/readyz")
	if len(got) > 2000 || !strings.Contains(got, `dial b0: down; dial \\x1b[2Jxxx`) {
		t.Errorf("got %d bytes: %.500s", len(got), got)
	}
}

// A node whose endpoint replicas may not agree on is named, and does not affect
// readiness.
func TestReadyzWarnsOfOverflow(t *testing.T) {
	c := up("a")
	c.Overflowed = []proxy.Overflow{{Listener: "fred", Nodes: []int32{100, 1001}}, {Listener: "bob", Nodes: []int32{1001}}}
	c.Unmapped = []proxy.Overflow{{Listener: "bob", Nodes: []int32{7}}}
	const want = `{
  "ready": true,
  "reasons": [],
  "warnings": [
    "cluster a, listener fred: nodes 100, 1001 are outside the range and took free slots; replicas may differ for them",
    "cluster a, listener bob: node 1001 is outside the range and took a free slot; replicas may differ for it",
    "cluster a, listener bob: node 7 has no endpoint, because the range is full; clients do not get it; widen the listener's nodes range"
  ],
  "clusters": {
    "a": {
      "up": true,
      "brokers": 3,
      "last_answer": "1970-01-01T00:01:40Z",
      "overflowed": {
        "bob": [
          1001
        ],
        "fred": [
          100,
          1001
        ]
      },
      "unmapped": {
        "bob": [
          7
        ]
      }
    }
  }
}
`
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{c}}}
	if status, got := get(t, listen(t, &admin.Readiness{Proxy: f}), "/readyz"); status != 200 || got != want {
		t.Errorf("got %d\n%s\nwant\n%s", status, got, want)
	}
}

// If a broker is too new for this build, clients lose an API, and the body names it.
func TestReadyzWarnsOfHiddenAPIs(t *testing.T) {
	c := up("a")
	c.Hidden = []string{"Fetch"}
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{c}}}
	status, got := get(t, listen(t, &admin.Readiness{Proxy: f}), "/readyz")
	for _, want := range []string{`"hidden_apis": [`, "no longer speak any version of Fetch", "upgrade kproxy"} {
		if status != 200 || !strings.Contains(got, want) {
			t.Errorf("got %d, %s, want %s in it", status, got, want)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	s := listen(t, &admin.Readiness{Proxy: &fake{}})
	for path, want := range map[string]string{"/livez": "200 ok\n", "/metrics": "200 numbers", "/": "404 404 page not found\n"} {
		status, body := get(t, s, path)
		if got := fmt.Sprintf("%d %s", status, body); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// An address that is taken is named by its key.
func TestListenFails(t *testing.T) {
	s := listen(t, nil)
	_, err := admin.Listen(t.Context(), &admin.Site{Config: &admin.Config{Bind: s.Addr().String()}}, discard)
	if err == nil || !strings.HasPrefix(err.Error(), "admin.bind: bind "+s.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

// The wildcard of IPv4 is not that of IPv6.
func TestIPv4Wildcard(t *testing.T) {
	s := listenWith(t, &admin.Config{Bind: "0.0.0.0:0"}, nil, discard)
	address, ok := s.Addr().(*net.TCPAddr)
	if !ok || address.IP.To4() == nil || !strings.HasPrefix(address.String(), "0.0.0.0:") {
		t.Errorf("it listens at %v", s.Addr())
	}
}

// Close waits for a response that is being written, until its context ends.
func TestClose(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	s, err := admin.Listen(t.Context(), &admin.Site{Config: &admin.Config{Bind: "127.0.0.1:0"}, Metrics: slow}, discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+s.Addr().String()+"/metrics", nil)
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s.Close(ctx)
	if err := <-done; err == nil {
		t.Error("the response was not cut")
	}
	close(release)
}

// listen starts a server until the test ends.
func listen(t *testing.T, ready *admin.Readiness) *admin.Server {
	t.Helper()
	return listenAs(t, admin.Config{}, ready)
}

// listenAs is listen with a configuration of the test's.
func listenAs(t *testing.T, c admin.Config, ready *admin.Readiness) *admin.Server {
	t.Helper()
	c.Bind = "127.0.0.1:0"
	return listenWith(t, &c, ready, discard)
}

// listenWith is listenAs with an address and a log of the test's.
func listenWith(t *testing.T, c *admin.Config, ready *admin.Readiness, log *slog.Logger) *admin.Server {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
	if ready == nil {
		ready = &admin.Readiness{}
	}
	secure, err := c.Load(log)
	if err != nil {
		t.Fatal(err)
	}
	s, err := admin.Listen(t.Context(), &admin.Site{Config: c, TLS: secure, Ready: ready, Metrics: metrics}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func get(t *testing.T, s *admin.Server, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status, _, body = ask(t, client, "http://"+s.Addr().String()+path, "")
	return status, body
}
