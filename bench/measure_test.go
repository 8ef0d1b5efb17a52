//go:build linux

package main

import (
	"math"
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseProcStat(t *testing.T) {
	const line = "4242 (a (bad) name) S 17 4242 4242 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 5 0 100 1000000 25 18446744073709551615 1 1"
	got, err := parseProcStat(line)
	want := procStat{pid: 4242, parent: 17, cpu: 2100 * time.Millisecond, rss: 25 * int64(os.Getpagesize())}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "4242", "x (y) S 1", "1 (y) S x 4242 4242 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 5 0 100 1000000 25 0"} {
		if got, err := parseProcStat(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestTree(t *testing.T) {
	all := map[int]procStat{
		1: {pid: 1}, 10: {pid: 10, parent: 1}, 11: {pid: 11, parent: 10}, 12: {pid: 12, parent: 11}, 20: {pid: 20, parent: 1}, 30: {pid: 30, parent: 99},
	}
	pids := func(roots ...int) (found []int) {
		for _, s := range tree(all, roots...) {
			found = append(found, s.pid)
		}
		slices.Sort(found)
		return found
	}
	if got := pids(10); !slices.Equal(got, []int{10, 11, 12}) {
		t.Errorf("got %v, want a process with its descendants", got)
	}
	// Each once, also where one root descends from the other.
	if got := pids(10, 11, 20); !slices.Equal(got, []int{10, 11, 12, 20}) {
		t.Errorf("got %v", got)
	}
	if got := pids(); got != nil {
		t.Errorf("got %v of no root", got)
	}
}

func TestThisMachine(t *testing.T) {
	cpu, err := machineCPU()
	if err != nil || cpu <= 0 {
		t.Errorf("got %v, %v", cpu, err)
	}
	s, err := takeSample([]int{os.Getpid()}, nil, nil)
	if err != nil || !s.alive || s.rss <= 0 || s.cgroup != -1 {
		t.Errorf("got %+v, %v", s, err)
	}
	// user nice system idle iowait irq softirq steal guest guest_nice
	got, err := parseMachineCPU("cpu  100 10 20 9999 9999 3 7 9999 50 5\ncpu0 1 1 1\n")
	if err != nil || got != 1400*time.Millisecond {
		t.Errorf("got %v, %v; want all CPU time, each part once", got, err)
	}
}

func TestCgroupParent(t *testing.T) {
	everything := func(string) bool { return true }
	for _, c := range []struct {
		name, own, want string
		exists          func(string) bool
	}{
		{"version 1", "4:memory:/a/b\n1:cpu:/\n0::/\n", "/sys/fs/cgroup/memory/a/b", everything},
		{"version 2", "0::/user.slice\n", "/sys/fs/cgroup/user.slice", everything},
		{"none", "0::/\n", "", func(string) bool { return false }},
	} {
		if got, _ := cgroupParent(c.own, c.exists); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFigures(t *testing.T) {
	second := int64(time.Second)
	base := turn{
		work: fetchOf(17, 64*kib, 1), cpu: true,
		marks: [3]mark{{}, {At: second, Requests: 100, Bytes: 1e9}, {At: 3 * second, Requests: 2100, Bytes: 3e9, P50: 40, P99: 90}},
		samples: [3]sample{
			{rss: mib, cgroup: 2 * mib},
			{cpu: second, machine: time.Second, ours: time.Second},
			{cpu: 2 * second, machine: 4 * time.Second, ours: 3 * time.Second, rss: 11 * mib, cgroup: 22 * mib},
		},
	}
	check := func(name string, turn turn, want figures) {
		t.Helper()
		got := turn.figures()
		for figure, v := range want {
			if math.Abs(got[figure]-v) > 1e-9 {
				t.Errorf("%s: %s is %v, want %v", name, figure, got[figure], v)
			}
		}
	}
	check("maximum", base, figures{
		mbPerS: 1000, reqPerS: 1000, cpuPerGB: 0.5, cpuPerReq: 500, machinePerGB: 1.5, machinePer: 1500, atMax + p50: 40, atMax + p99: 90,
	})
	atRate := base
	atRate.rate = 1000
	check("pinned", atRate, figures{pinned + cpuPerGB: 0.5, pinned + reqPerS: 1000, p50: 40, p99: 90, offered: 1000})
	if f := atRate.figures(); f[reqPerS] != 0 || f[cpuPerGB] != 0 {
		t.Errorf("a pinned turn has figures of the maximum: %v", f)
	}
	none := base
	none.cpu = false
	if _, ok := none.figures()[cpuPerGB]; ok {
		t.Error("CPU of a target whose processes are not known")
	}
	resting := base
	resting.work = asking("", idle, 1024, "")
	check("idle", resting, figures{kibPerIdle: 10, cgroupPrefix + kibPerIdle: 20})
	if _, ok := resting.figures()[mbPerS]; ok {
		t.Error("idle connections have a throughput")
	}
}
