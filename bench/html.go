//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

//go:embed page.gohtml
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// writePage writes the report as one HTML file, which needs nothing from
// elsewhere.
func (r *report) writePage(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(out, r.page()); err != nil {
		_ = out.Close()
		return fmt.Errorf("write the page: %w", err)
	}
	return out.Close()
}

// page is the data of the template.
type page struct {
	*report
	Others   bool // a target that reads frames, beside kproxy
	Took     string
	Counts   map[string]int // of verdicts
	Matrix   matrix
	RealCPU  []chart    // of the run in front of a real broker
	Loads    []loadView // of that run
	Answer   []string   // a sentence for each first chart
	First    []chart    // at the top of the page
	Plan     decisionTable
	Sections []section
	Tables   []tableView
}

// section is a figure, with a chart for each workload that has it.
type section struct {
	Title, Unit, About string
	Charts             []chart
}

// loadView is the table of a load in front of a real broker.
type loadView struct {
	Name   string
	Titles []string
	Rows   [][]string
}

// matrix is an overview of the costs: the CPU of each target as a multiple of
// kproxy's.
type matrix struct {
	Targets []string
	Rows    []matrixRow
}

type matrixRow struct {
	Workload, About string
	Cells           []matrixCell
}

type matrixCell struct{ Text, Class, Title string }

// tableView is a workload's table, as on the terminal.
type tableView struct {
	Workload workload
	Titles   []string
	Rows     [][]string
}

func (r *report) page() page {
	others := slices.ContainsFunc(r.Targets, func(t *targetInfo) bool { return classOf(t) == "other" })
	p := page{report: r, Others: others, Took: r.took(), Counts: make(map[string]int), Matrix: r.matrix()}
	p.Answer, p.First = r.answer()
	p.Plan = r.decisions()
	if r.Real != nil {
		p.RealCPU = r.Real.charts(r.Targets)
		for _, l := range realLoads() {
			titles, rows := r.Real.tableOf(l)
			p.Loads = append(p.Loads, loadView{l.name, titles, rows})
		}
	}
	for _, g := range r.Goals {
		p.Counts[g.Verdict]++
	}
	for _, s := range []struct {
		title, unit, about, name string
		of                       func(workload) bool
	}{
		{"CPU for a gigabyte", "s/GB", "CPU seconds of all processes of the target, at the same offered load for all. Less is better.", pinned + cpuPerGB, large},
		{"CPU for a request", "µs", "CPU microseconds of all processes of the target, at the same offered load for all. Less is better.", pinned + cpuPerReq, small},
		{"CPU for a new connection", "µs", "CPU microseconds of all processes of the target for a connection with one request, at the same offered load for all. Less is better.", pinned + cpuPerReq, is(churn)},
		{"CPU for a new connection at the maximum", "µs", "The same while each target carries as many as it can. Less is better.", cpuPerReq, is(churn)},
		{"Latency, median", "µs", "From when a request was due, at the same offered load for all. Less is better.", p50, loaded},
		{"Latency, p99", "µs", "From when a request was due, at the same offered load for all. Less is better.", p99, loaded},
		{"Memory of a connection", "KiB", "Resident memory of the target's processes for each connection that is idle. Less is better.", kibPerIdle, is(idle)},
		{"Memory of a stalled connection", "KiB", "Resident memory for each client that has stopped reading. Less is better.", kibPerStall, is(stalled)},
		{"Most megabytes a second", "MB/s", "On this machine, which load and broker share. More is better.", mbPerS, large},
		{"Most requests a second", "/s", "On this machine, which load and broker share. More is better.", reqPerS, small},
		{"Most new connections a second", "/s", "On this machine, which load and broker share. More is better.", reqPerS, is(churn)},
	} {
		made := section{Title: s.title, Unit: s.unit, About: s.about}
		for _, w := range r.Workloads {
			if !s.of(w) {
				continue
			}
			if c := r.chart(w, s.name, s.unit); len(c.Bars) > 0 {
				made.Charts = append(made.Charts, c)
			}
		}
		if len(made.Charts) > 0 {
			p.Sections = append(p.Sections, made)
		}
	}
	for _, w := range r.Workloads {
		if !r.began(w) {
			continue
		}
		p.Tables = append(p.Tables, r.tableView(w))
	}
	return p
}

func loaded(w workload) bool { return w.Kind != idle }
func large(w workload) bool {
	return loaded(w) && (w.Bytes >= 64*kib || w.Key == kmsg.Metadata.Int16())
}
func small(w workload) bool         { return loaded(w) && !large(w) && w.Kind != churn }
func is(k kind) func(workload) bool { return func(w workload) bool { return w.Kind == k } }

// costOf names the figure by which a workload's CPU is compared.
func costOf(w workload) string {
	if large(w) {
		return pinned + cpuPerGB
	}
	return pinned + cpuPerReq
}

func (r *report) matrix() matrix {
	var m matrix
	for _, t := range r.Targets {
		if t.Name != "direct" && t.Missing == "" {
			m.Targets = append(m.Targets, t.Name)
		}
	}
	for _, w := range r.Workloads {
		base := r.row(kproxyName, w.Name).series(costOf(w))
		if len(base.known()) == 0 {
			continue
		}
		row := matrixRow{Workload: w.Name, About: w.Describe()}
		for _, name := range m.Targets {
			s := r.row(name, w.Name).series(costOf(w)).over(base)
			row.Cells = append(row.Cells, cellOf(s, name == kproxyName))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func cellOf(s series, self bool) matrixCell {
	v := s.median()
	least, greatest := s.spread()
	c := matrixCell{Text: short(v) + " ×", Title: spread(s)}
	switch {
	case math.IsNaN(v):
		c.Text = "–"
	case self:
		c.Text, c.Class = "1", "self"
	case least > 1: // in each round
		c.Class = "dearer"
	case greatest < 1:
		c.Class = "cheaper"
	}
	return c
}

func (r *report) tableView(w workload) tableView {
	v := tableView{Workload: w, Titles: []string{"target"}}
	columns := columnsOf(w)
	for _, c := range columns {
		v.Titles = append(v.Titles, c.title)
	}
	v.Titles = append(v.Titles, "notes")
	for _, row := range r.Rows {
		if row.Workload != w.Name {
			continue
		}
		cells := []string{row.Target}
		for _, c := range columns {
			cells = append(cells, spread(row.series(c.name)))
		}
		v.Rows = append(v.Rows, append(cells, row.notes()))
	}
	return v
}
