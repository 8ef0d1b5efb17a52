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
