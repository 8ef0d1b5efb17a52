//go:build linux

package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sampleReport is a run of kproxy and two others, with figures that were made up
// to be easy to compute with.
func sampleReport() *report {
	work := []workload{fetchOf(17, 64*kib, 8), produceOf(256, 8), asking("idle-1000", idle, 1000, "idle")}
	r := newReport(&plan{options: options{rounds: 2, threads: 2, share: 0.5}, work: work})
	r.Targets = []*targetInfo{
		{Name: "direct"},
		{Name: kproxyName, Version: "kproxy 1", Config: "clusters: <here>"},
		{Name: "haproxy", Blind: true},
		{Name: "iocopy", Blind: true},
		{Name: "nginx-16k", Blind: true, Missing: "not installed"},
	}
	installed := []target{{name: "direct"}, {name: kproxyName}, {name: "haproxy"}, {name: "iocopy"}}
	cpu := map[string]float64{kproxyName: 6, "haproxy": 10, "iocopy": 8}
	for _, w := range work {
		rows := r.rowsOf(w, installed)
		for _, row := range rows {
			for round := range 2 {
				slower := float64(round + 1) // the second round is on a machine half as fast
				f := figures{}
				if w.Kind == idle {
					f[kibPerIdle] = cpu[row.Target]
				} else {
					f = figures{mbPerS: 100, reqPerS: 1000, p50: 50 * slower, p99: 90 * slower, machinePerGB: 3 + cpu[row.Target], pinned + machinePerGB: 3 + cpu[row.Target]}
				}
				if v := cpu[row.Target]; v > 0 && w.Kind != idle {
					f[cpuPerGB], f[cpuPerReq] = v*slower, v*slower
					f[pinned+cpuPerGB], f[pinned+cpuPerReq] = v*slower, v*slower
				}
				row.add(round, 2, f)
			}
		}
		r.derive(rows)
	}
	r.finish()
	return r
}

// wantVerdicts compares the verdicts of some goals, each by figure, workload, load and target.
func wantVerdicts(t *testing.T, all []goal, want map[string]string) {
	t.Helper()
	for _, g := range all {
		key := strings.Join([]string{g.Figure, g.Workload, g.Load, g.Against}, "/")
		if verdict, ok := want[key]; ok && g.Verdict != verdict {
			t.Errorf("%s: %s, want %s: %+v", key, g.Verdict, verdict, g)
		}
		delete(want, key)
	}
	for key := range want {
		t.Errorf("no goal %s", key)
	}
}

func TestGoals(t *testing.T) {
	want := map[string]string{
		"CPU per GB/fetch-v17-64KiB/maximum/haproxy":                     met,       // 0.6 in both rounds, although the second was slower
		"CPU per GB/fetch-v17-64KiB/maximum/best blind measured: iocopy": undecided, // 0.75, but not of all
		"CPU per request/produce-256B/pinned/haproxy":                    met,
		"KiB per idle connection/idle-1000//KiB":                         notMet, // 6
		"p99 at the pinned rate/produce-256B/pinned/haproxy":             met,
	}
	r := sampleReport()
	wantVerdicts(t, r.Goals, want)
	// The upper end of the spread decides.
	if g := newGoal("", "", "", "", 0.75, series{0.5, 0.5, 0.76}); g.Verdict != undecided {
		t.Errorf("got %s with a round beyond the limit", g.Verdict)
	}
	if g := newGoal("", "", "", "", 0.75, series{0.76, 0.8, 0.9}); g.Verdict != notMet {
		t.Errorf("got %s with all rounds beyond the limit", g.Verdict)
	}
	if g := newGoal("", "", "", "", 0.75, series{0.5, 0.75}); g.Verdict != met {
		t.Errorf("got %s at the limit", g.Verdict)
	}
	if g := newGoal("", "", "", "", 0.75, series{0.5, math.NaN(), 0.5}); g.Verdict != notMeasured {
		t.Errorf("got %s with a round that failed", g.Verdict)
	}
	if g := newGoal("", "", "", "", 0.75, nil); g.Verdict != notMeasured {
		t.Errorf("got %s without a figure", g.Verdict)
	}
}

// New connections are compared with HAProxy's, with TLS and without; many connections with one, and by latency with
// HAProxy's.
func TestGoalsOfConnections(t *testing.T) {
	r := sampleReport()
	r.Workloads = []workload{
		asking("churn", churn, 16, ""), asking("churn", churn, 16, "").secured(tlsDown),
		produceOf(4*kib, 1).named("-1conn", ""), produceOf(4*kib, 100).named("-100conns", ""),
	}
	r.Rows = nil
	installed := []target{{name: kproxyName}, {name: haproxyName}}
	for _, w := range r.Workloads {
		for _, row := range r.rowsOf(w, installed) {
			f := figures{cpuPerReq: 10, pinned + cpuPerReq: 20, p50: 30}
			if row.Target == haproxyName {
				f = figures{cpuPerReq: 8, pinned + cpuPerReq: 40, p50: 60}
			}
			row.add(0, 2, f)
			row.add(1, 2, f)
		}
	}
	want := map[string]string{
		"CPU per new connection/churn/maximum/haproxy":                                           notMet,
		"CPU per new connection/churn/pinned/haproxy":                                            met,
		"CPU per new connection/tls-down-churn/maximum/haproxy":                                  notMet,
		"CPU per new connection/tls-down-churn/pinned/haproxy":                                   met,
		"CPU per request, many connections/produce-4KiB-100conns/maximum/itself, one connection": met,
		"p50 at the pinned rate, many connections/produce-4KiB-100conns/pinned/haproxy":          met,
	}
	wantVerdicts(t, goals(r), want)
}

// With TLS, kproxy is compared with HAProxy alone, by other limits.
func TestTLSGoals(t *testing.T) {
	r := sampleReport()
	r.Workloads = []workload{fetchOf(17, mib, 8).secured(tlsDown), produceOf(4*kib, 8).secured(tlsUp), asking("idle", idle, 2, "").secured(tlsDown)}
	for _, row := range r.Rows { // 0.6 of HAProxy's
		switch row.Workload {
		case "fetch-v17-64KiB":
			row.Workload = r.Workloads[0].Name
		case "produce-256B":
			row.Workload = r.Workloads[1].Name
		}
	}
	got := goals(r)
	if len(got) != 4 {
		t.Fatalf("got %+v", got)
	}
	for i, limit := range []float64{0.8, 0.8, 1, 1} {
		if g := got[i]; g.Limit != limit || g.Against != haproxyName || g.Verdict != met || *g.Median != 0.6 {
			t.Errorf("got %+v, want a limit of %v", g, limit)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 5*3 {
		t.Fatalf("got %d rows, want one for each target and workload, measured or not", len(got.Rows))
	}
	for _, row := range got.Rows {
		for _, key := range []string{"target", "workload", "frame_bytes", "conns", mbPerS, reqPerS, cpuPerGB, cpuPerReq, p50, p99, kibPerIdle, "spread"} {
			if _, ok := row[key]; !ok {
				t.Errorf("a row has no %s", key)
			}
		}
		switch {
		case row["target"] == kproxyName && row["workload"] == "fetch-v17-64KiB":
			least := row["spread"].(map[string]any)[cpuPerGB].([]any)[0]
			if row[cpuPerGB] != 9.0 || least != 6.0 || row[kibPerIdle] != nil {
				t.Errorf("got %v", row)
			}
			if net := row["more"].(map[string]any)[netPerGB]; net != 6.0 {
				t.Errorf("got %v for the machine less direct, want 6", net)
			}
		case row["target"] == "nginx-16k":
			if row[mbPerS] != nil || len(row["notes"].([]any)) == 0 {
				t.Errorf("a target that is not installed: %v", row)
			}
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := sampleReport().writeTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fetch-v17-64KiB", "9.00 (6.00..12.0)", "NOT MEASURED: not installed", "GOAL of kproxy", "1 not met"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, out.String())
		}
	}
}

func TestPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	if err := sampleReport().writePage(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{"<svg", "fetch-v17-64KiB", "1.67 ×", "not installed", "clusters: &lt;here&gt;"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "url(", "NaN", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q: it needs nothing from elsewhere", bad)
		}
	}
}

func TestNginxModule(t *testing.T) {
	there := func(string) bool { return true }
	for _, c := range []struct {
		name, built, want string
		exists            func(string) bool
		fails             bool
	}{
		{"built in", "--with-stream --with-threads", "", there, false},
		{"a module", "--modules-path=/m --with-stream=dynamic", "load_module /m/ngx_stream_module.so;\n", there, false},
		{"a module that is not there", "--modules-path=/m --with-stream=dynamic", "", func(string) bool { return false }, true},
		{"without", "--with-threads", "", there, true},
	} {
		got, err := nginxModule(c.built, c.exists)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}
