//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// question is one of those that an engineer asks who must choose a proxy.
type question struct {
	title, unit string
	name        string // of the figure
	workloads   []string
	// text begins the sentence; the figures follow, by target.
	text string
}

// questions have the workloads that answer them, the best one first.
func questions() []question {
	fetch := []string{"fetch-v17-64KiB", "fetch-v11-64KiB", "produce-64KiB", "fetch-v17-1MiB"}
	produce := []string{"produce-4KiB", "fetch-v17-4KiB", "produce-256B"}
	return []question{
		{"CPU of a gigabyte", "s/GB", pinned + cpuPerGB, fetch, "A gigabyte (%s) costs, in CPU seconds: "},
		{"CPU of a request", "µs", pinned + cpuPerReq, produce, "A request (%s) costs, in CPU microseconds: "},
		{"Median latency", "µs", p50, produce, "The median latency (%s) is, in microseconds: "},
		{"Latency of the slowest 1 %", "µs", p99, produce, "The 99th percentile (%s) is, in microseconds: "},
	}
}

// answer is a sentence and a chart for each question that the run has figures for.
func (r *report) answer() (sentences []string, charts []chart) {
	for _, q := range questions() {
		for _, name := range q.workloads {
			i := slices.IndexFunc(r.Workloads, func(w workload) bool { return w.Name == name })
			if i < 0 || math.IsNaN(r.row(kproxyName, name).series(q.name).median()) {
				continue
			}
			var figures []string
			for _, t := range r.Targets {
				if v := r.row(t.Name, name).series(q.name).median(); !math.IsNaN(v) {
					figures = append(figures, t.Name+" "+short(v))
				}
			}
			sentences = append(sentences, fmt.Sprintf(q.text, name)+strings.Join(figures, ", ")+".")
			c := r.chart(r.Workloads[i], q.name, q.unit)
			c.Title = q.title + " (" + q.unit + "), " + name
			charts = append(charts, c)
			break
		}
	}
	return sentences, charts
}
