//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func defaults() options {
	return options{rounds: 5, threads: 2, duration: time.Second, warmup: time.Second, share: 0.5}
}

func TestParseTarget(t *testing.T) {
	got, err := parseTarget("mine=127.0.0.1:9092,pid=12,pid=13")
	if err != nil || got.name != "mine" || got.address != "127.0.0.1:9092" || !slices.Equal(got.pids, []int{12, 13}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "mine", "=127.0.0.1:1,pid=2", "mine=127.0.0.1,pid=2", "mine=127.0.0.1:1", "mine=127.0.0.1:1,pid=x", "mine=127.0.0.1:1,pid=0", "mine=127.0.0.1:1,12", "haproxy=127.0.0.1:1,pid=2"} {
		if got, err := parseTarget(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(*options)
		root  bool
		error string // part of it
		check func(*plan) bool
	}{
		{"everything", func(*options) {}, true, "", func(p *plan) bool {
			return len(p.work) == len(workloads()) && len(p.chosen) == len(targets()) && len(p.absent) == 0
		}},
		{"veth needs root", func(*options) {}, false, "", func(p *plan) bool {
			return len(p.absent) > 0 && !slices.ContainsFunc(p.work, func(w workload) bool { return w.Net != loopback })
		}},
		{"a glob", func(o *options) { o.workloads = []string{"fetch-v17-*", "churn"} }, true, "", func(p *plan) bool {
			return slices.ContainsFunc(p.work, func(w workload) bool { return w.Name == "fetch-v17-1MiB-100p" }) &&
				!slices.ContainsFunc(p.work, func(w workload) bool { return strings.HasPrefix(w.Name, "veth") })
		}},
		{"direct is always there", func(o *options) { o.targets = []string{"haproxy"} }, true, "", func(p *plan) bool {
			return slices.Equal(p.chosen, []string{"direct", "haproxy"})
		}},
		{"the user's own", func(o *options) {
			o.userTargets, o.brokerListen = []string{"mine=127.0.0.1:1,pid=1"}, "127.0.0.1:9092"
		}, true, "", func(p *plan) bool { return p.chosen[len(p.chosen)-1] == "mine" }},
		{"a real cluster", func(o *options) { o.brokers = []string{"127.0.0.1:9092"} }, true, "", func(p *plan) bool {
			return !slices.ContainsFunc(p.work, func(w workload) bool { return !w.real() || w.Net != loopback })
		}},
		{"a real cluster has not the suite's key", func(o *options) {
			o.brokers, o.workloads = []string{"127.0.0.1:9092"}, []string{"tls-*", "produce-*"}
		}, true, "", func(p *plan) bool {
			return len(p.absent) == len(overTLSWorkloads()) && !slices.ContainsFunc(p.work, workload.hasTLS)
		}},
		{"quick", func(o *options) { o.quick = true }, true, "", func(p *plan) bool {
			return len(p.work) == len(quickWorkloads) && p.estimate() < 2*time.Minute
		}},
		{"no such workload", func(o *options) { o.workloads = []string{"nothing"} }, true, "nothing", nil},
		{"no such target", func(o *options) { o.targets = []string{"nothing"} }, true, "there are direct", nil},
		{"a target that cannot know the broker", func(o *options) { o.userTargets = []string{"mine=127.0.0.1:1,pid=1"} }, true, "--broker-listen", nil},
		{"no rounds", func(o *options) { o.rounds = 0 }, true, "--rounds", nil},
		{"no time", func(o *options) { o.duration = 0 }, true, "--duration", nil},
		{"two targets of one name", func(o *options) {
			o.userTargets, o.brokerListen = []string{"mine=127.0.0.1:1,pid=1", "mine=127.0.0.1:2,pid=1"}, "127.0.0.1:9092"
		}, true, "its own", nil},
		{"time that runs backwards", func(o *options) { o.idle = -1 }, true, "--idle", nil},
		{"all of the maximum", func(o *options) { o.share = 1 }, true, "--rate-share", nil},
		{"no port", func(o *options) { o.brokers = []string{"localhost"} }, true, "localhost", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := defaults()
			c.edit(&o)
			p, err := o.plan(c.root)
			switch {
			case c.error != "":
				if err == nil || !strings.Contains(err.Error(), c.error) {
					t.Errorf("got %v, want an error with %q", err, c.error)
				}
			case err != nil:
				t.Error(err)
			case !c.check(p):
				t.Errorf("got targets %v, absent %v, %d workloads, %v", p.chosen, p.absent, len(p.work), p.estimate())
			}
		})
	}
}

// A workload's name is a key of the report.
func TestWorkloadNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range workloads() {
		if seen[w.Name] {
			t.Errorf("two workloads are called %s", w.Name)
		}
		seen[w.Name] = true
		if len(columnsOf(w)) == 0 || w.About == "" {
			t.Errorf("%s has no columns, or no description", w.Name)
		}
	}
	for _, name := range quickWorkloads {
		if !seen[name] {
			t.Errorf("a quick run wants %s, which there is not", name)
		}
	}
}
