package telemetry

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kproxy/proxy"
)

// everything has a count of each kind.
func everything() proxy.Snapshot {
	durations := proxy.DurationStats{Key: 0, Buckets: make([]int64, len(proxy.DurationBounds())+1), Sum: 90 * time.Second}
	durations.Buckets[0], durations.Buckets[len(durations.Buckets)-1] = 2, 1
	return proxy.Snapshot{Clusters: []proxy.ClusterStats{{
		TLS:  &proxy.TLSStats{Certificates: []proxy.CertificateStats{{File: "kproxy.pem", Expires: time.Unix(1800000000, 0)}}},
		Name: "orders", Up: true, LastAnswer: time.Unix(1700000000, 0), Brokers: 3,
		Dials:      []proxy.DialCount{{Node: proxy.NoNode, Outcome: proxy.OutcomeOK, Count: 4}, {Node: 7, Outcome: proxy.OutcomeTimeout, Count: 1}},
		MapChanges: []proxy.MapChangeCount{{Kind: "added", Count: 3}, {Kind: "moved", Count: 0}},
		Listeners: []proxy.ListenerStats{{
			Name: "fred", Opened: 9,
			TLS:                 &proxy.TLSStats{Certificates: []proxy.CertificateStats{{File: "edge.pem", Expires: time.Unix(1800000000, 0)}, {File: "edge.pem", Expires: time.Unix(1800000000, 0)}}, Stale: true},
			UsersStale:          new(true),
			Active:              []proxy.NodeCount{{Node: proxy.NoNode, Count: 2}, {Node: proxy.UnknownNode, Count: 1}},
			Closed:              []proxy.CloseCount{{Closing: proxy.Closing{Node: 7, Reason: proxy.ClientClosed}, Count: 6}},
			Up:                  proxy.Direction{Frames: 10, Copied: 1000, Spliced: 3000},
			Down:                proxy.Direction{Frames: 9, Copied: 5000, Spliced: 7000, Misses: 3},
			Requests:            []proxy.RequestCount{{Key: 0, Version: 13, Count: 4}, {Key: 105, Version: proxy.Other, Count: 1}, {Key: proxy.Other, Version: 0, Count: 1}},
			Durations:           []proxy.DurationStats{durations},
			Addresses:           []proxy.AddressStats{{Key: 1, Rewritten: 5, Dropped: 2, Neutralised: 1}},
			HiddenAPIs:          []proxy.APICount{{Key: proxy.Other, Count: 8}},
			Refused:             []proxy.APICount{{Key: 0, Count: 12}},
			Routing:             []proxy.RoutingCount{{Node: 7, Misrouted: 18, LeaderAnother: 14, LeaderItself: 13}},
			TransactionsLowered: 1,
		}},
	}}}
}

// start starts telemetry about the result of stats.
func start(t *testing.T, conf *Config, stats func() proxy.Snapshot) *Telemetry {
	t.Helper()
	loaded, err := Load(t.Context(), conf, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	tel, err := loaded.Start(stats, func() State {
		return State{
			Generation: 3, LastReload: time.Unix(1700000000, 0), Failed: true, Reloads: Reloads{Applied: 15, HeldBack: 16, Refused: 17},
			Handover: Handover{Took: time.Unix(1700000100, 0), Sessions: 5, Ended: time.Unix(1700000200, 0), Failures: 2},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// scrape returns the metrics as Prometheus reads them.
func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// documented is a line of docs/metrics.md: name, type, unit, labels.
var documented = regexp.MustCompile("(?m)^\\| `(kproxy_[a-z_]+)` \\| (counter|gauge|histogram) \\| [^|]+ \\| (?:([a-z, ]+) )?\\| .+ \\|$")

// The page lists exactly the exported metrics: names, types and labels.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, line := range documented.FindAllStringSubmatch(string(page), -1) {
		labels := strings.Split(line[3], ", ")
		slices.Sort(labels)
		want[line[1]] = line[2] + " " + strings.Join(labels, ",")
	}
	got := map[string]string{}
	for name, family := range scrape(t, start(t, &Config{Version: "v1"}, everything)) {
		if !strings.HasPrefix(name, "kproxy_") {
			continue
		}
		labels := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		got[name] = strings.ToLower(family.GetType().String()) + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ",")
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: documented as %q, exported as %q", name, want[name], got[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not documented", name)
		}
	}
}

// Every value has its labels, and a histogram is exact.
func TestValues(t *testing.T) {
	families := scrape(t, start(t, &Config{Version: "v1"}, everything))
	for _, want := range []string{
		`kproxy_config_generation{} 3`, `kproxy_config_last_reload_timestamp_seconds{} 1.7e+09`, `kproxy_config_last_reload_success{} 0`,
		`kproxy_sessions_opened_total{cluster="orders",listener="fred"} 9`,
		`kproxy_sessions_closed_total{cluster="orders",listener="fred",node="7",reason="client_closed"} 6`,
		`kproxy_sessions_active{cluster="orders",listener="fred",node="bootstrap"} 2`,
		`kproxy_sessions_active{cluster="orders",listener="fred",node="unknown"} 1`,
		`kproxy_bytes_total{cluster="orders",direction="up",listener="fred",path="copy"} 1000`,
		`kproxy_bytes_total{cluster="orders",direction="down",listener="fred",path="copy"} 5000`,
		`kproxy_bytes_total{cluster="orders",direction="up",listener="fred",path="splice"} 3000`,
		`kproxy_bytes_total{cluster="orders",direction="down",listener="fred",path="splice"} 7000`,
		`kproxy_splice_misses_total{cluster="orders",direction="down",listener="fred"} 3`,
		`kproxy_frames_total{cluster="orders",direction="down",listener="fred"} 9`,
		`kproxy_requests_total{api="Produce",cluster="orders",listener="fred",version="13"} 4`,
		`kproxy_requests_total{api="105",cluster="orders",listener="fred",version="other"} 1`,
		`kproxy_requests_total{api="other",cluster="orders",listener="fred",version="0"} 1`,
		`kproxy_addresses_total{api="Fetch",cluster="orders",kind="neutralised",listener="fred"} 1`,
		`kproxy_apis_hidden_total{api="other",cluster="orders",listener="fred"} 8`,
		`kproxy_misrouted_total{cluster="orders",listener="fred",node="7"} 18`,
		`kproxy_leader_hints_total{cluster="orders",leader="another",listener="fred",node="7"} 14`,
		`kproxy_leader_hints_total{cluster="orders",leader="itself",listener="fred",node="7"} 13`,
		`kproxy_config_reloads_total{outcome="applied"} 15`,
		`kproxy_config_reloads_total{outcome="held_back"} 16`,
		`kproxy_config_reloads_total{outcome="refused"} 17`,
		`kproxy_requests_refused_total{api="Produce",cluster="orders",listener="fred"} 12`,
		`kproxy_transactions_lowered_total{cluster="orders",listener="fred"} 1`,
		`kproxy_cluster_up{cluster="orders"} 1`,
		`kproxy_cluster_last_answer_timestamp_seconds{cluster="orders"} 1.7e+09`,
		`kproxy_cluster_brokers{cluster="orders"} 3`,
		`kproxy_dials_total{cluster="orders",node="bootstrap",outcome="ok"} 4`,
		`kproxy_map_changes_total{cluster="orders",kind="moved"} 0`,
	} {
		name, _, _ := strings.Cut(want, "{")
		if got := texts(families[name]); !slices.Contains(got, want) {
			t.Errorf("got %s, want %s", strings.Join(got, "\n"), want)
		}
	}
	h := families["kproxy_request_duration_seconds"].GetMetric()[0].GetHistogram()
	first, last := h.GetBucket()[0], h.GetBucket()[len(proxy.DurationBounds())-1]
	if h.GetSampleCount() != 3 || h.GetSampleSum() != 90 || first.GetUpperBound() != 0.0005 || first.GetCumulativeCount() != 2 ||
		last.GetUpperBound() != 60 || last.GetCumulativeCount() != 2 {
		t.Errorf("histogram: got %v", h)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes", "target_info"} {
		if families[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

// texts are the samples of a family of counters or gauges, as /metrics has them.
func texts(family *dto.MetricFamily) []string {
	var all []string
	for _, m := range family.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		slices.Sort(labels)
		value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
		all = append(all, fmt.Sprintf("%s{%s} %v", family.GetName(), strings.Join(labels, ","), value))
	}
	return all
}

// Without an open session the metric is 0, and not absent.
func TestNobodyIsActive(t *testing.T) {
	idle := proxy.Snapshot{Clusters: []proxy.ClusterStats{{Name: "orders", Listeners: []proxy.ListenerStats{{Name: "fred"}}}}}
	families := scrape(t, start(t, &Config{}, func() proxy.Snapshot { return idle }))
	got := texts(families["kproxy_sessions_active"])
	if want := `kproxy_sessions_active{cluster="orders",listener="fred",node="bootstrap"} 0`; !slices.Equal(got, []string{want}) {
		t.Errorf("got %q, want %s", got, want)
	}
}
