//go:build linux

package main

import (
	"strings"
	"testing"
)

// The first lines answer by the best workload that was measured, for the targets that have figures.
func TestAnswer(t *testing.T) {
	r := &report{Targets: []*targetInfo{{Name: directName}, {Name: kproxyName}, {Name: haproxyName}}}
	measured := func(workload string, of map[string]figures) {
		for _, w := range workloads() {
			if w.Name == workload {
				r.Workloads = append(r.Workloads, w)
			}
		}
		for target, f := range of {
			row := &row{Target: target, Workload: workload, figures: map[string]series{}}
			row.add(0, 1, f)
			r.Rows = append(r.Rows, row)
		}
	}
	measured("produce-256B", map[string]figures{kproxyName: {p50: 9}})
	measured("produce-4KiB", map[string]figures{directName: {p50: 100}, kproxyName: {p50: 130}, haproxyName: {p50: 125}})
	measured("fetch-v17-1MiB", map[string]figures{kproxyName: {pinned + cpuPerGB: 0.25}, haproxyName: {pinned + cpuPerGB: 0.5}})
	sentences, charts := r.answer()
	const want = "A gigabyte (fetch-v17-1MiB) costs, in CPU seconds: kproxy 0.25, haproxy 0.50.\n" +
		"The median latency (produce-4KiB) is, in microseconds: direct 100, kproxy 130, haproxy 125."
	if got := strings.Join(sentences, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(charts) != 2 || len(charts[0].Bars) != 2 || len(charts[1].Bars) != 3 {
		t.Errorf("got the charts %+v", charts)
	}
}

// A plan's figures are in its own units, and added latency is the difference to direct's. A target without a figure has
// a dash; a row without a figure of kproxy's is left out.
func TestDecisions(t *testing.T) {
	r := &report{Targets: []*targetInfo{{Name: directName}, {Name: kproxyName}, {Name: haproxyName}, {Name: "nginx-64k", Missing: "not installed"}}}
	measured := func(target, workload string, f figures) {
		row := &row{Target: target, Workload: workload, figures: map[string]series{}}
		row.add(0, 1, f)
		r.Rows = append(r.Rows, row)
	}
	measured(directName, "produce-4KiB", figures{p50: 400})
	measured(kproxyName, "produce-4KiB", figures{p50: 1600, pinned + cpuPerReq: 13.7})
	measured(haproxyName, "produce-4KiB", figures{pinned + cpuPerReq: 14})
	measured(kproxyName, "churn", figures{pinned + cpuPerReq: 200})
	measured(haproxyName, "churn", figures{pinned + cpuPerReq: 100})
	measured(kproxyName, "idle-5000", figures{kibPerIdle: 6})
	measured(haproxyName, "tls-down-churn", figures{pinned + cpuPerReq: 1000})
	table := r.decisions()
	var got []string
	for _, row := range table.Rows {
		got = append(got, row.Title+": "+strings.Join(row.Cells, ", "))
	}
	const want = "CPU for a produce of 4 KiB, µs: 13.7, 14.0\n" +
		"cores for 1,000 new connections a second: 0.20, 0.10\n" +
		"added to a produce of 4 KiB, median, ms: 1.20, -\n" +
		"process memory for 5,000 idle connections, MiB: 29.3, -"
	if text := strings.Join(got, "\n"); text != want || strings.Join(table.Targets, " ") != "kproxy haproxy" {
		t.Errorf("%v: got\n%s\nwant\n%s", table.Targets, text, want)
	}
}
