//go:build linux

package main

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// The figures, by their names in the report. Those of the pinned rate begin with pinned,
// except the latencies: the ones without a prefix are the pinned rate's.
const (
	mbPerS       = "mb_per_s"
	reqPerS      = "req_per_s"
	cpuPerGB     = "cpu_s_per_gb"
	cpuPerReq    = "cpu_us_per_req"
	p50          = "p50_us"
	p99          = "p99_us"
	kibPerIdle   = "kib_per_idle_conn"
	pinned       = "pinned_"
	atMax        = "max_"
	machinePerGB = "machine_cpu_s_per_gb"
	machinePer   = "machine_cpu_us_per_req"
	netPerGB     = "machine_less_direct_cpu_s_per_gb"
	netPerReq    = "machine_less_direct_cpu_us_per_req"
	foreignShare = "foreign_cpu_share" // of the machine, taken by processes that are not the suite's
	kibPerStall  = "kib_per_stalled_conn"
	cgroupPrefix = "cgroup_"  // the same memory, with the kernel's memory for the target
	socketPrefix = "sockets_" // in the buffers of all TCP sockets of the machine
	slabPrefix   = "slab_"    // in the kernel's objects, of the whole machine
	offered      = "offered_req_per_s"
)

// figures are the results of one turn.
type figures map[string]float64

// turn is one measurement of one target.
type turn struct {
	work    workload
	rate    float64 // 0: the maximum
	marks   [3]mark
	samples [3]sample // at start, begin and end
	cpu     bool      // the target's processes are known
	alone   bool      // and so are all others of the turn: the rest is foreign
}

// measure runs the load once against a running target.
func (s *suite) measure(ctx context.Context, st *stage, run *running, rate float64) (figures, error) {
	t := turn{work: st.work, rate: rate, cpu: len(run.pids) > 0, alone: !st.real()}
	job := loadJob{
		Work: st.work, Address: run.addresses[0], Rate: rate, Warmup: s.warmupOf(st.work), Duration: s.duration,
		Cluster: st.clusterJob(run), Keys: run.keys,
	}
	load, err := s.env.startLoad(ctx, st.place.client, job)
	if err != nil {
		return nil, err
	}
	others := []int{load.cmd.Process.Pid}
	for _, b := range st.route.brokers {
		others = append(others, b.pid)
	}
	err = load.follow(func(i int, m mark) (err error) {
		t.marks[i] = m
		t.samples[i], err = takeSample(run.pids, others, run.group)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, ctx.Err(), load.close())
	}
	if err := load.close(); err != nil {
		return nil, err
	}
	if t.cpu && !t.samples[2].alive {
		return nil, errors.New("the target's processes are gone")
	}
	if t.marks[2].Requests <= t.marks[1].Requests && t.work.Kind != idle {
		return nil, errors.New("no response came during the measurement")
	}
	return t.figures(), nil
}

// figures computes them from the marks and samples.
func (t turn) figures() figures {
	f := make(figures)
	from, to := t.samples[1], t.samples[2]
	took := time.Duration(t.marks[2].At - t.marks[1].At)
	machine := to.machine - from.machine
	if took > 0 && t.alone {
		share := (machine - (to.ours - from.ours)).Seconds() / took.Seconds() / float64(runtime.NumCPU())
		f[foreignShare] = max(0, share)
	}
	t.memory(f)
	requests := float64(t.marks[2].Requests - t.marks[1].Requests)
	bytes := float64(t.marks[2].Bytes - t.marks[1].Bytes)
	if t.work.Kind == idle || requests <= 0 || took <= 0 {
		return f
	}
	const million, billion = 1e6, 1e9
	rates := figures{mbPerS: bytes / million / took.Seconds(), reqPerS: requests / took.Seconds()}
	per := func(gb, request string, cpu time.Duration) {
		rates[gb] = cpu.Seconds() / (bytes / billion)
		rates[request] = cpu.Seconds() * million / requests
	}
	per(machinePerGB, machinePer, machine)
	if t.cpu {
		per(cpuPerGB, cpuPerReq, time.Duration(to.cpu-from.cpu))
	}
	prefix, latency := "", atMax
	if t.rate > 0 {
		prefix, latency = pinned, ""
		f[offered] = t.rate
	}
	for name, v := range rates {
		f[prefix+name] = v
	}
	f[latency+p50], f[latency+p99] = t.marks[2].P50, t.marks[2].P99
	return f
}

// memory adds the cost of each idle or stalled connection: the memory at the end, less
// the memory before they were opened.
func (t turn) memory(f figures) {
	name, n := kibPerIdle, t.work.Conns
	if t.work.Kind == stalled {
		name, n = kibPerStall, t.work.Others
	}
	if n == 0 || (t.work.Kind != idle && t.work.Kind != stalled) {
		return
	}
	from, to := t.samples[0], t.samples[2]
	each := func(a, b int64) float64 { return float64(b-a) / kib / float64(n) }
	f[socketPrefix+name] = each(from.sockets, to.sockets)
	f[slabPrefix+name] = each(from.slab, to.slab)
	if !t.cpu {
		return
	}
	f[name] = each(from.rss, to.rss)
	if from.cgroup >= 0 && to.cgroup >= 0 {
		f[cgroupPrefix+name] = each(from.cgroup, to.cgroup)
	}
}
