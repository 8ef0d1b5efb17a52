package page

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"kproxy/internal/cluster"
	"kproxy/internal/endpoints"
	"kproxy/internal/events"
	"kproxy/internal/logkey"
	"kproxy/internal/recent"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// fixture is a state to show.
type fixture struct {
	topology proxy.Topology
	stats    proxy.Snapshot
	ring     events.Ring
	reasons  []string
	warnings []string
}

func (f *fixture) log() *slog.Logger { return slog.New(f.ring.Handler(slog.DiscardHandler)) }

// get renders the page.
func (f *fixture) get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	sampler := recent.New(func() proxy.Snapshot { return f.stats })
	ctx, cancel := context.WithCancel(t.Context())
	sampler.Start(ctx)
	cancel()
	sampler.Wait()
	p := New(Parts{
		Topology: func() proxy.Topology { return f.topology }, Recent: sampler, Events: &f.ring,
		Ready:      func() (reasons, warnings []string) { return f.reasons, f.warnings },
		Generation: func() int { return 7 }, Version: "v9", Started: time.Now().Add(-time.Hour),
	})
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w
}

// clusters has some clusters, each with some listeners and brokers.
func (f *fixture) add(clusters, listeners, brokers int) *fixture {
	for c := range clusters {
		name := fmt.Sprintf("c%d", c)
		at := proxy.ClusterTopology{ClusterHealth: proxy.ClusterHealth{Name: name, Up: true, LastAnswer: time.Now()}, ID: "id-" + name}
		stats := proxy.ClusterStats{Name: name, TLS: &proxy.TLSStats{Certificates: []proxy.CertificateStats{{File: "/etc/" + name + ".pem", Expires: time.Now().Add(48 * time.Hour)}}}}
		for l := range listeners {
			listener := proxy.ListenerTopology{Name: fmt.Sprintf("l%d", l), Bind: "0.0.0.0:9092", Advertised: "kafka.example.com:9092", TLS: l == 0}
			for b := range brokers {
				listener.Nodes = append(listener.Nodes, cluster.Place{
					Broker: endpoints.Broker{Node: int32(b), Host: fmt.Sprintf("b%d.internal", b), Port: 9092}, Bind: fmt.Sprintf("0.0.0.0:%d", 9100+b),
					Advertised: fmt.Sprintf("kafka.example.com:%d", 9100+b), Dialled: fmt.Sprintf("10.0.0.1:%d", b),
				})
			}
			at.Listeners = append(at.Listeners, listener)
			stats.Listeners = append(stats.Listeners, proxy.ListenerStats{Name: listener.Name, Active: []proxy.NodeCount{{Node: 0, Count: 5}, {Node: proxy.NoNode, Count: 2}}})
		}
		f.topology.Clusters, f.stats.Clusters = append(f.topology.Clusters, at), append(f.stats.Clusters, stats)
	}
	return f
}

// text returns the text of a document, without script and style.
func text(t *testing.T, document string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "style" {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Everything is there without JavaScript.
func TestPage(t *testing.T) {
	t.Parallel()
	f := new(fixture).add(1, 2, 3)
	f.warnings = []string{"a warning of readyz"}
	f.topology.Clusters[0].Listeners[1].Nodes[2].Dialled = ""
	log := f.log().With(logkey.Cluster, "c0", logkey.Listener, "l0")
	for range 3 {
		log.Warn("session closed", logkey.Reason, "dial_failed", logkey.Client, "10.0.0.9:5000", logkey.ClientID, "billing", logkey.Node, 1, logkey.Error, errors.New("no route"), logkey.Fix, "open the port")
	}
	log.Info("session closed", logkey.Reason, "client_closed", logkey.Client, "10.0.0.9:5001", logkey.Node, -1)
	got := text(t, f.get(t, "/").Body.String())
	for _, want := range []string{
		"Ready 14 connections configuration generation 7 up for 1 h version v9", "Warnings a warning of readyz",
		"Cluster c0 up", "3 brokers id id-c0 last response",
		"Listener l0 clients bootstrap from kafka.example.com:9092 bound at 0.0.0.0:9092 TLS 7 connections",
		"0 kafka.example.com:9100 0.0.0.0:9100 10.0.0.1:0 b0.internal:9092 5",
		"1 kafka.example.com:9101 0.0.0.0:9101 10.0.0.1:1 3 connections did not reach it b1.internal:9092 0",
		"2 kafka.example.com:9102 0.0.0.0:9102 none a dial rule gives no valid address b2.internal:9092 0",
		"dial_failed 3 0 s ago c0/l0, node 1 10.0.0.9:5000 (billing) no route Fix: open the port client_closed 1 0 s ago c0/l0 10.0.0.9:5001 no error",
		"c0, to the brokers /etc/c0.pem", "in 1 d 23 h ends soon",
		"To clients", "To brokers", "Requests", "Connections",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
}

// A connection of an hour ago that did not reach its broker says nothing of the broker now, and files that are
// no good are a problem long before the end of a certificate.
func TestTroubles(t *testing.T) {
	t.Parallel()
	f := new(fixture).add(1, 1, 1)
	f.stats.Clusters[0].Listeners[0].TLS = &proxy.TLSStats{Stale: true, Certificates: []proxy.CertificateStats{{File: "edge.pem", Expires: time.Now().Add(9000 * time.Hour)}}}
	old := slog.NewRecord(time.Now().Add(-time.Hour), slog.LevelWarn, "session closed", 0)
	old.Add(logkey.Reason, "dial_failed", logkey.Cluster, "c0", logkey.Node, 0)
	if err := f.ring.Handler(slog.DiscardHandler).Handle(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	got := text(t, f.get(t, "/").Body.String())
	if strings.Contains(got, "did not reach it") || !strings.Contains(got, "dial_failed 1 1 h ago") {
		t.Errorf("an old failure: %s", got)
	}
	if !strings.Contains(got, "c0/l0 edge.pem") || !strings.Contains(got, "the files as they are now are no good") {
		t.Errorf("bad files: %s", got)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	none := text(t, new(fixture).get(t, "/").Body.String())
	if !strings.Contains(none, "There is no cluster The configuration has none") || !strings.Contains(none, "No session has ended among the 0 events that are kept") {
		t.Errorf("no cluster: %s", none)
	}
	f := new(fixture).add(2, 1, 0)
	f.reasons = []string{"no cluster has answered yet"}
	f.topology.Clusters[0].ClusterHealth = proxy.ClusterHealth{Name: "c0", LastError: errors.New("refused"), LastFailed: time.Now()}
	f.topology.Clusters[1].ClusterHealth = proxy.ClusterHealth{Name: "c1", LastAnswer: time.Now(), LastError: errors.New("lost"), LastFailed: time.Now()}
	document := f.get(t, "/").Body.String()
	got := text(t, document)
	for _, want := range []string{
		"Not ready: kproxy", "Why kproxy is not ready no cluster has answered yet", "Cluster c0 no response yet 0 brokers id id-c0 refused",
		"Cluster c1 down 0 brokers id id-c1 last response 0 s ago lost", "No broker is known yet.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
	if one := text(t, f.get(t, "/?cluster=c1").Body.String()); strings.Contains(one, "Cluster c0") || !strings.Contains(one, "Cluster c1") || !strings.Contains(one, "All clusters") {
		t.Errorf("one cluster: %s", one)
	}
	if other := text(t, f.get(t, "/?cluster=%3Cscript%3E").Body.String()); !strings.Contains(other, "There is no cluster <script>") {
		t.Errorf("a cluster that there is not: %s", other)
	}
}

// The document loads nothing, and runs and applies nothing but its own script and style, named by their hashes.
func TestPolicy(t *testing.T) {
	t.Parallel()
	form := httptest.NewRecorder()
	LogIn(form, http.StatusUnauthorized, "wrong")
	for name, w := range map[string]*httptest.ResponseRecorder{"page": new(fixture).add(2, 2, 5).get(t, "/"), "form": form} {
		csp, body := w.Header().Get("Content-Security-Policy"), w.Body.String()
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'", "connect-src 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: no %s in %s", name, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: %s", name, csp)
		}
		root, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for n := range root.Descendants() {
			if n.Data == "script" || n.Data == "style" {
				if !strings.Contains(csp, n.Data+"-src "+hashOf(n.FirstChild.Data)) {
					t.Errorf("%s: the policy does not admit this %s", name, n.Data)
				}
			}
			for _, a := range n.Attr {
				if a.Key == "style" || a.Key == "src" || strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "://") || strings.HasPrefix(a.Val, "javascript:") {
					t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
				}
			}
		}
	}
}

// Names of brokers and clients that try to be markup or to reorder text are shown as text, and cut.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}</style>` + "\x1b[31m\u202e\x00\u2028"
	f := new(fixture).add(1, 1, 1)
	c := &f.topology.Clusters[0]
	c.ID, c.LastError, c.Up = evil, errors.New(evil), false
	c.Listeners[0].Nodes[0].Broker.Host, c.Listeners[0].Nodes[0].Dialled = evil, evil
	f.reasons, f.warnings = []string{evil}, []string{evil + strings.Repeat("x", 100_000)}
	f.log().With(logkey.Cluster, evil, logkey.Listener, evil).Error(evil, logkey.Reason, evil, logkey.Client, evil, logkey.ClientID, evil+strings.Repeat("y", 100_000), logkey.Error, evil, logkey.Fix, evil)
	clean := text(t, new(fixture).add(1, 1, 1).get(t, "/").Body.String())
	body := f.get(t, "/?cluster=").Body.String()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	scripts := 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "script" {
			scripts++
		}
		if n.Data == "img" {
			t.Error("there is an image")
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%d scripts", scripts)
	}
	if strings.ContainsAny(body, "\x1b\x00\u202e\u2028") {
		t.Error("control characters are shown")
	}
	if n := len(text(t, body)); n > len(clean)+8000 {
		t.Errorf("%d characters, and %d without the hostile texts", n, len(clean))
	}
	if !strings.Contains(text(t, body), `<script>alert(1)</script>`) {
		t.Error("the text is not there as text")
	}
}

// However much there is, the page has a bound, and names the number of the rest.
func TestBounds(t *testing.T) {
	t.Parallel()
	f := new(fixture).add(30, 5, 200)
	f.stats.Clusters[0].Listeners[0].TLS = new(proxy.TLSStats)
	for i := range 500 {
		f.warnings = append(f.warnings, fmt.Sprintf("warning %d", i))
		f.stats.Clusters[0].Listeners[0].TLS.Certificates = append(f.stats.Clusters[0].Listeners[0].TLS.Certificates, proxy.CertificateStats{File: fmt.Sprintf("f%d", i), Expires: time.Now().Add(time.Hour)})
		f.log().Info("session closed", logkey.Reason, fmt.Sprintf("r%d", i))
	}
	body := f.get(t, "/").Body.String()
	if n := len(body); n > 600_000 {
		t.Errorf("%d bytes", n)
	}
	got := text(t, body)
	for _, want := range []string{
		"50 of 200 brokers are shown. kproxy topology has all.", "0 of 200 brokers are shown", "100 of 200 brokers are shown", "10 more clusters are not shown.",
		"5 more listeners are not shown.", "480 more: see /readyz.", "480 more reasons are not shown.", "The newest 20 of 500 events", "480 more end later.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if n := strings.Count(body, `class="address" data-label="Advertised"`); n != maxRows {
		t.Errorf("%d rows, want %d", n, maxRows)
	}
}

// Ids are unique, each label and each link within the page leads to something, and headings skip no level.
func TestStructure(t *testing.T) {
	t.Parallel()
	f := new(fixture).add(3, 3, 3)
	f.reasons, f.warnings = []string{"r"}, []string{"w"}
	f.log().Warn("session closed", logkey.Reason, "r")
	root, err := html.Parse(strings.NewReader(f.get(t, "/").Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	ids, wanted, level := map[string]bool{}, map[string]bool{}, 0
	heading := regexp.MustCompile(`^h([1-6])$`)
	for n := range root.Descendants() {
		if m := heading.FindStringSubmatch(n.Data); m != nil && n.Type == html.ElementNode {
			if next := int(m[1][0] - '0'); next > level+1 {
				t.Errorf("h%d follows h%d", next, level)
			} else {
				level = next
			}
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("two elements are %q", a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			case a.Key == "aria-labelledby":
				wanted[a.Val] = true
			case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
				wanted[a.Val[1:]] = true
			}
		}
		if n.Data == "table" && (n.FirstChild == nil || n.FirstChild.NextSibling.Data != "caption") {
			t.Error("a table has no caption")
		}
	}
	for id := range wanted {
		if !ids[id] {
			t.Errorf("there is no element %q", id)
		}
	}
}

// A listener that refuses requests has a badge, in the map and beside its addresses; others have none.
func TestRefusals(t *testing.T) {
	f := (&fixture{}).add(1, 2, 1)
	f.topology.Clusters[0].Listeners[1].APIs = config.APIs{Preset: config.ReadOnly, Deny: []string{"<b>"}}
	body := f.get(t, "/").Body.String()
	const badge = `<span class="state warn">read-only, refuses &lt;b&gt;</span>`
	if n := strings.Count(body, badge); n != 2 || !strings.Contains(body, `">Listener l1 `+badge+`</h3>`) || !strings.Contains(body, `">Listener l0</h3>`) {
		t.Errorf("%d badges:\n%s", n, body)
	}
}

// Repeats count, and the newest end of a reason is the one whose last repeat is the newest.
func TestRepeats(t *testing.T) {
	t.Parallel()
	f := (&fixture{}).add(1, 1, 2)
	log := f.log().With(logkey.Cluster, "c0", logkey.Listener, "l0")
	end := func(node int) {
		log.Warn("session closed", logkey.Reason, "dial_failed", logkey.Client, "10.0.0.9:5000", logkey.Node, node)
		<-time.After(time.Millisecond) // the next one has another time
	}
	end(0)
	end(1)
	end(0)
	end(0)
	got := text(t, f.get(t, "/").Body.String())
	for _, want := range []string{"dial_failed 4 0 s ago c0/l0, node 0 ", "3 connections did not reach it", "1 connection did not reach it", "session closed: dial_failed (and 2 more until "} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
}
