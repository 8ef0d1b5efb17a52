//go:build linux

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rendered is the visible output of a report.
func rendered(t *testing.T, r *report) (table, page string) {
	t.Helper()
	var out strings.Builder
	file := filepath.Join(t.TempDir(), "page.html")
	if err := r.write("", file, &out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table, ok := strings.CutSuffix(out.String(), "The page is "+file+".\n")
	if !ok {
		t.Errorf("the page is not named: %s", out.String())
	}
	return table, string(b)
}

// saved is a report as a file.
func saved(t *testing.T, name string, r *report) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// partOf is the part of the sample that has these workloads.
func partOf(names ...string) *report {
	r := sampleReport()
	r.Rows = slices.DeleteFunc(r.Rows, func(row *row) bool { return !slices.Contains(names, row.Workload) })
	r.Workloads = slices.DeleteFunc(r.Workloads, func(w workload) bool { return !slices.Contains(names, w.Name) })
	r.Command, r.Complete = "go run ./bench --workloads "+strings.Join(names, ","), true
	r.Goals = goals(r)
	return r
}

// A file of rows has everything that table and page show.
func TestReportRoundTrip(t *testing.T) {
	r := sampleReport()
	r.Rows[1].figures[p99][0] = series{}.median() // NaN: not measured in this round
	again, err := readReport(saved(t, "a.json", r))
	if err != nil {
		t.Fatal(err)
	}
	table, page := rendered(t, r)
	gotTable, gotPage := rendered(t, again)
	if gotTable != table {
		t.Errorf("got the table\n%s\nwant\n%s", gotTable, table)
	}
	if gotPage != page {
		t.Error("another page")
	}
}

// A report joined of parts equals the report of one run.
func TestJoin(t *testing.T) {
	whole := sampleReport()
	b, a := partOf("idle-1000", "fetch-v17-64KiB"), partOf("produce-256B")
	a.Rounds = 3
	a.Notes = append(a.Notes, "A note.")
	a.Targets = slices.DeleteFunc(a.Targets, func(info *targetInfo) bool { return info.Name == "nginx-16k" })
	a.Rows = slices.DeleteFunc(a.Rows, func(row *row) bool { return row.Target == "nginx-16k" })
	file := filepath.Join(t.TempDir(), "joined.json")
	var out strings.Builder
	if err := join([]string{saved(t, "a.json", a), saved(t, "b.json", b)}, joinOptions{json: file}, &out); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != len(whole.Rows)-1 || len(got.Targets) != len(whole.Targets) || len(got.Workloads) != len(whole.Workloads) {
		t.Errorf("got %d rows, %d targets, %d workloads", len(got.Rows), len(got.Targets), len(got.Workloads))
	}
	for _, want := range whole.Goals {
		if !slices.ContainsFunc(got.Goals, func(g goal) bool {
			return g.Figure == want.Figure && g.Workload == want.Workload && g.Load == want.Load && g.Against == want.Against &&
				g.MeasuredText() == want.MeasuredText() && g.Verdict == want.Verdict
		}) {
			t.Errorf("no goal %+v", want)
		}
	}
	table, page := rendered(t, got)
	if out.String() != table {
		t.Errorf("joined again, the table is\n%s\nwant\n%s", table, out.String())
	}
	for _, want := range []string{
		"a.json: A note.", "--workloads produce-256B", "--workloads idle-1000,fetch-v17-64KiB", "3 rounds of", "2 rounds of", "in 2 parts",
		got.Machine.Kernel, "kproxy 1",
	} {
		if !strings.Contains(table, want) || want != "in 2 parts" && !strings.Contains(page, strings.ReplaceAll(want, "'", "&#39;")) {
			t.Errorf("table or page does not say %q:\n%s", want, table)
		}
	}
	if i, j := strings.Index(table, "\nproduce-256B"), strings.Index(table, "\nfetch-v17-64KiB"); i < 0 || i > j {
		t.Error("workloads are not in the usual order")
	}
}

// A joined report can be a part again.
func TestJoinJoined(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1.json"), filepath.Join(dir, "2.json")
	a, b, c := saved(t, "a.json", partOf("idle-1000")), saved(t, "b.json", partOf("produce-256B")), saved(t, "c.json", partOf("fetch-v17-64KiB"))
	var out strings.Builder
	if err := join([]string{a, b}, joinOptions{json: first}, &out); err != nil {
		t.Fatal(err)
	}
	if err := join([]string{first, c}, joinOptions{json: second}, &out); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(second)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Parts) != 3 || got.Parts[0].File != a || got.Parts[2].File != c || got.Rounds != 2 {
		t.Errorf("got %+v", got.Parts)
	}
}

// A run in front of a real broker stands first on the page, and stays in a file that is joined again.
func TestJoinReal(t *testing.T) {
	a := partOf("produce-256B")
	run := aRealReport()
	run.Machine = a.Machine
	for i := range run.Targets {
		run.Targets[i].Version = a.Targets[i].Version
	}
	realFile := filepath.Join(t.TempDir(), "real.json")
	joined := filepath.Join(t.TempDir(), "joined.json")
	write := func() {
		if err := run.write(realFile, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	join := func() error {
		return join([]string{saved(t, "a.json", a)}, joinOptions{json: joined, real: realFile}, io.Discard)
	}
	write()
	if err := join(); err != nil {
		t.Fatal(err)
	}
	again, err := readReport(joined)
	if err != nil {
		t.Fatal(err)
	}
	_, page := rendered(t, again)
	first, figures := strings.Index(page, "<p>"+run.Sentence()), strings.Index(page, `id="all"`)
	if first < 0 || first > figures || !strings.Contains(page, "consume-1KB at the maximum") || !strings.Contains(page, "consume-100KB") {
		t.Errorf("the run in front of a real broker is not first on the page: %d, %d", first, figures)
	}
	for want, edit := range map[string]func(){
		"kernel: ":                 func() { run.Machine.Kernel = "Linux 1" },
		"haproxy: , and HAProxy 1": func() { run.Machine, run.Targets[2].Version = a.Machine, "HAProxy 1" },
	} {
		edit()
		write()
		if err := join(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestJoinRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*report)
		want []string
	}{
		{"another kproxy", func(r *report) { r.Targets[1].Version = "kproxy 2" }, []string{"a.json and", "b.json cannot", "kproxy: kproxy 1, and kproxy 2"}},
		{"another HAProxy", func(r *report) { r.Targets[2].Version = "HAProxy 9" }, []string{"haproxy: "}},
		{"another machine", func(r *report) { r.Machine.Cores, r.Machine.Kernel = 9999, "Linux 1" }, []string{"cores: ", "and 9999", "kernel: ", "Linux 1"}},
		{"other threads", func(r *report) { r.Threads = 64 }, []string{"threads of each target: 2, and 64"}},
		{"another upstream", func(r *report) { r.Upstream = "a real cluster" }, []string{"upstream: "}},
		{"rows of both", func(r *report) { r.Rows = partOf("produce-256B").Rows }, []string{"b.json both have produce-256B, of direct, kproxy, haproxy"}},
		{"no rows", func(r *report) { r.Rows = nil }, []string{"b.json: no rows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := partOf("produce-256B"), partOf("idle-1000")
			c.edit(b)
			err := join([]string{saved(t, "a.json", a), saved(t, "b.json", b)}, joinOptions{}, &strings.Builder{})
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

// A target that was not installed for one part is in the joined report.
func TestJoinMissingTarget(t *testing.T) {
	a, b := partOf("produce-256B"), partOf("idle-1000")
	b.Targets[4].Missing, b.Targets[4].Version = "", "nginx 1"
	joined, err := joinReports([]string{"a", "b"}, []*report{a, b})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(joined.Targets, func(info *targetInfo) bool { return info.Name == "nginx-16k" })
	if got := joined.Targets[i]; got.Missing != "" || got.Version != "nginx 1" {
		t.Errorf("got %+v", got)
	}
}

// The workload that a run was ended in can be run again: its rows are then those
// of the other part.
func TestJoinUnfinished(t *testing.T) {
	a, b := partOf("fetch-v17-64KiB", "produce-256B"), partOf("produce-256B", "idle-1000")
	a.Complete = false // in the midst of produce-256B
	b.row("haproxy", "produce-256B").Notes = []string{"of b"}
	joined, err := joinReports([]string{"a", "b"}, []*report{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if got := joined.row("haproxy", "produce-256B").Notes; len(got) != 1 || len(joined.Rows) != 15 {
		t.Errorf("got %v, %d rows", got, len(joined.Rows))
	}
	if len(joined.Notes) == 0 || !strings.Contains(joined.Notes[0], "a was ended in produce-256B") || !strings.Contains(joined.took(), "a was ended early") {
		t.Errorf("got %q, %s", joined.Notes, joined.took())
	}
	// If the other part does not have it, the unfinished workload counts.
	a, b = partOf("produce-256B"), partOf("idle-1000")
	a.Complete = false
	if joined, err = joinReports([]string{"a", "b"}, []*report{a, b}); err != nil || len(joined.Rows) != 10 {
		t.Errorf("got %v", err)
	}
}

// A ratio of two workloads has a note if they come from two parts.
func TestJoinUnpaired(t *testing.T) {
	a, b := partOf("fetch-v17-64KiB"), partOf("produce-256B")
	b.Workloads[0].RateOf = "fetch-v17-64KiB"
	joined, err := joinReports([]string{"a", "b"}, []*report{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(joined.Notes, func(note string) bool { return strings.HasPrefix(note, "produce-256B and fetch-v17-64KiB,") }) {
		t.Errorf("got %q", joined.Notes)
	}
}
