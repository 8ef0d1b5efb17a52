//go:build linux

package main

import (
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// goal is one promise of kproxy's, compared with a run. It is met when the upper
// end of the spread is within the limit, and not met when the lower end is beyond it.
type goal struct {
	Figure   string   `json:"figure"`
	Workload string   `json:"workload"`
	Load     string   `json:"load"` // maximum or pinned; empty where there is one
	Against  string   `json:"against"`
	Limit    float64  `json:"limit"`
	Median   *float64 `json:"median"`
	Least    *float64 `json:"least"`
	Greatest *float64 `json:"greatest"`
	Verdict  string   `json:"verdict"`
}

// The verdicts.
const (
	met         = "met"
	undecided   = "undecided" // the spread has the limit in it, or a target that is missing may be better
	notMet      = "not met"
	notMeasured = "not measured"
)

func newGoal(figure, workload, load, against string, limit float64, s series) goal {
	least, greatest := s.spread()
	g := goal{
		Figure: figure, Workload: workload, Load: load, Against: against, Limit: limit,
		Median: number(s.median()), Least: number(least), Greatest: number(greatest), Verdict: notMet,
	}
	switch {
	case g.Greatest == nil, len(s.known()) < len(s):
		g.Verdict = notMeasured // a round that failed may have been the worst
	case *g.Greatest <= limit:
		g.Verdict = met
	case *g.Least <= limit:
		g.Verdict = undecided
	}
	return g
}

const (
	against100 = "itself, one partition"
	againstNo  = "itself, no client stalled"
	againstOne = "itself, one connection"
	absolute   = "KiB"
)

// goals are those that the run's workloads can show. "No allocation for a
// forwarded frame" is not here: it is a test of package proxy.
func goals(r *report) []goal {
	if !slices.ContainsFunc(r.Targets, func(t *targetInfo) bool { return t.Name == kproxyName }) {
		return nil
	}
	var all []goal
	for _, w := range r.Workloads {
		large := w.Bytes >= 64*kib
		switch {
		case w.Kind == churn:
			all = append(all, r.againstHAProxy("CPU per new connection", w, cpuPerReq, 1.1)...)
		case w.hasTLS():
			all = append(all, tlsGoals(r, w)...)
		case w.Kind == stalled:
			all = append(all, stalledGoals(r, w)...)
		case w.Kind == idle:
			all = append(all, newGoal("KiB per idle connection", w.Name, "", absolute, 5, r.row(kproxyName, w.Name).series(kibPerIdle)))
		case w.Kind != requests || w.Key == kmsg.Metadata.Int16():
		case w.Partitions > 1:
			all = append(all, spreadGoals(r, w)...)
		case large:
			all = append(all, cpuGoals(r, w, "CPU per GB", cpuPerGB, 0.75, 0.95)...)
		default:
			all = append(all, cpuGoals(r, w, "CPU per request", cpuPerReq, 0.95, 1.1)...)
		}
	}
	return append(append(all, manyGoals(r)...), latencyGoals(r)...)
}

// againstHAProxy compares a figure at both loads with HAProxy's.
func (r *report) againstHAProxy(figure string, w workload, name string, limit float64) []goal {
	var all []goal
	for _, load := range loads {
		all = append(all, newGoal(figure, w.Name, load.name, haproxyName, limit,
			r.row(kproxyName, w.Name).series(load.prefix+name).over(r.row(haproxyName, w.Name).series(load.prefix+name))))
	}
	return all
}

// manyGoals are those of small frames on many connections: the CPU of a request is that of one on a single
// connection, and the latency on a hundred is HAProxy's.
func manyGoals(r *report) []goal {
	one := produceOf(4*kib, 1).named("-1conn", "").Name
	var all []goal
	for _, w := range r.Workloads {
		if w.Kind != requests || w.hasTLS() || !strings.HasPrefix(w.Name, produceOf(4*kib, 1).Name+"-") || w.Conns == 1 {
			continue
		}
		all = append(all, newGoal("CPU per request, many connections", w.Name, "maximum", againstOne, 1.1,
			r.row(kproxyName, w.Name).series(cpuPerReq).over(r.row(kproxyName, one).series(cpuPerReq))))
		if w.Conns == 100 {
			all = append(all, newGoal("p50 at the pinned rate, many connections", w.Name, "pinned", haproxyName, 1,
				r.row(kproxyName, w.Name).series(p50).over(r.row(haproxyName, w.Name).series(p50))))
		}
	}
	return all
}

// loads are the two loads at which CPU is measured, with the prefixes of their figures.
var loads = []struct{ name, prefix string }{{"maximum", ""}, {"pinned", pinned}}

// tlsGoals are those of a workload with TLS, against HAProxy alone: the other blind
// proxies use other TLS libraries. Idle connections have none.
func tlsGoals(r *report, w workload) []goal {
	if w.Kind != requests {
		return nil
	}
	figure, name, limit := "CPU per request, TLS", cpuPerReq, 1.0
	if w.Bytes >= 64*kib {
		figure, name, limit = "CPU per GB, TLS", cpuPerGB, 0.8
	}
	return r.againstHAProxy(figure, w, name, limit)
}

// cpuGoals are those of one workload against HAProxy and the best blind row, at
// both loads.
func cpuGoals(r *report, w workload, figure, name string, haproxy, blind float64) []goal {
	all := r.againstHAProxy(figure, w, name, haproxy)
	for _, load := range loads {
		ours := r.row(kproxyName, w.Name).series(load.prefix + name)
		best, whole := r.bestBlind(w.Name, load.prefix+name)
		blindGoal := newGoal(figure, w.Name, load.name, "best blind: "+best, blind, ours.over(r.row(best, w.Name).series(load.prefix+name)))
		if !whole {
			blindGoal.Against = "best blind measured: " + best
		}
		if !whole && blindGoal.Verdict == met {
			blindGoal.Verdict = undecided
		}
		all = append(all, blindGoal)
	}
	return all
}

// bestBlind is the blind target with the least of a figure; "none" has no rows. whole
// says that it is the best of all that the suite has.
func (r *report) bestBlind(workload, name string) (best string, whole bool) {
	best, whole = "none", true
	least := math.Inf(1)
	for _, t := range targets() {
		if !t.blind {
			continue
		}
		m := r.row(t.name, workload).series(name).median()
		if math.IsNaN(m) {
			whole = false
		}
		if m < least {
			best, least = t.name, m
		}
	}
	return best, whole
}

// spreadGoals compares a response of many partitions with one partition of the same size.
func spreadGoals(r *report, w workload) []goal {
	one := fetchOf(w.Version, w.Bytes, w.Conns)
	var all []goal
	for _, load := range loads {
		all = append(all, newGoal("CPU per GB, 100 partitions", w.Name, load.name, against100, 1.15,
			r.row(kproxyName, w.Name).series(load.prefix+cpuPerGB).over(r.row(kproxyName, one.Name).series(load.prefix+cpuPerGB))))
	}
	return all
}

// stalledGoals compares a healthy reader beside stalled ones with the same reader alone,
// and checks the memory of the process for each stalled one.
func stalledGoals(r *report, w workload) []goal {
	if w.Others == 0 {
		return nil
	}
	alone := stalledBeside(w.Net)[0]
	all := []goal{newGoal("KiB per stalled connection", w.Name, "", absolute, 64, r.row(kproxyName, w.Name).series(kibPerStall))}
	for _, load := range loads {
		all = append(all, newGoal("CPU per GB beside stalled readers", w.Name, load.name, againstNo, 1.2,
			r.row(kproxyName, w.Name).series(load.prefix+cpuPerGB).over(r.row(kproxyName, alone.Name).series(load.prefix+cpuPerGB))))
	}
	return all
}

func latencyGoals(r *report) []goal {
	var all []goal
	for _, w := range r.Workloads {
		if w.Kind == requests && !w.hasTLS() {
			all = append(all, newGoal("p99 at the pinned rate", w.Name, "pinned", haproxyName, 1.1,
				r.row(kproxyName, w.Name).series(p99).over(r.row(haproxyName, w.Name).series(p99))))
		}
	}
	return all
}
