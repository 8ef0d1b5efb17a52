//go:build linux

package main

import (
	"math"
	"strconv"
)

// decision is a row for an engineer who must choose a proxy: a figure in the unit of a plan.
type decision struct {
	title    string
	workload string
	name     string  // of the figure
	times    float64 // from the figure's unit to that of the title
	added    bool    // direct's figure is taken off
}

// decisions are the rows of the README and of the page. But for the most new connections they are of the same offered load for all targets.
func decisions() []decision {
	const perThousand, toMs = 1000.0 / 1e6, 1.0 / 1000
	return []decision{
		{"CPU for a produce of 4 KiB, µs", "produce-4KiB", pinned + cpuPerReq, 1, false},
		{"the same with 1,000 busy connections", "produce-4KiB-1000conns", pinned + cpuPerReq, 1, false},
		{"CPU for a gigabyte of fetches of 64 KiB, s", "fetch-v17-64KiB", pinned + cpuPerGB, 1, false},
		{"cores for 1,000 new connections a second", "churn", pinned + cpuPerReq, perThousand, false},
		{"the same, each with a TLS handshake", "tls-down-churn", pinned + cpuPerReq, perThousand, false},
		{"added to a produce of 4 KiB, median, ms", "produce-4KiB", p50, toMs, true},
		{"the same, 99th percentile, ms", "produce-4KiB", p99, toMs, true},
		{"added with 100 busy connections, median, ms", "produce-4KiB-100conns", p50, toMs, true},
		{"the same with 100, 99th percentile, ms", "produce-4KiB-100conns", p99, toMs, true},
		{"most new connections a second, on two cores", "churn", reqPerS, 1, false},
		{"most of them with a TLS handshake each", "tls-down-churn", reqPerS, 1, false},
		{"process memory for 5,000 idle connections, MiB", "idle-5000", kibPerIdle, 5000.0 / 1024, false},
		{"the same with the kernel's, MiB", "idle-5000", cgroupPrefix + kibPerIdle, 5000.0 / 1024, false},
		{"process memory for 1,000 idle ones with TLS, MiB", "tls-down-idle-1000", kibPerIdle, 1000.0 / 1024, false},
	}
}

// of is a target's figure in the decision's unit, from the medians that figure returns; NaN where one of them is.
func (d decision) of(target string, figure func(target, workload, name string) float64) float64 {
	v := figure(target, d.workload, d.name)
	if d.added {
		if target == directName {
			return math.NaN()
		}
		v -= figure(directName, d.workload, d.name)
	}
	return v * d.times
}

// decisionTable is the decisions of a report, as far as kproxy has their figures.
type decisionTable struct {
	Targets []string
	Rows    []decisionRow
}

type decisionRow struct {
	Title, Workload string
	Cells           []string
}

func (r *report) decisions() (t decisionTable) {
	for _, target := range r.Targets {
		if target.Name != directName && target.Missing == "" {
			t.Targets = append(t.Targets, target.Name)
		}
	}
	median := func(target, workload, name string) float64 {
		v, err := strconv.ParseFloat(short(r.row(target, workload).series(name).median()), 64) // as the tables have it
		if err != nil {
			return math.NaN()
		}
		return v
	}
	for _, d := range decisions() {
		if math.IsNaN(d.of(kproxyName, median)) {
			continue
		}
		row := decisionRow{Title: d.title, Workload: d.workload}
		for _, target := range t.Targets {
			row.Cells = append(row.Cells, short(d.of(target, median)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
