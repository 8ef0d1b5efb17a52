//go:build linux

package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stage has the common parts of one workload's targets.
type stage struct {
	work  workload
	place *place
	route route
	topic string // of a real cluster
	rows  []*row // of the targets that are there, in the report's order
}

// real reports whether the upstream is a real cluster.
func (st *stage) real() bool { return len(st.route.brokers) == 0 }

// clusterJob is the configuration of franz-go for a target; nil with the fake broker.
func (st *stage) clusterJob(run *running) *clusterJob {
	if !st.real() || st.work.Kind != requests {
		return nil
	}
	job := &clusterJob{Seeds: run.addresses[:1], Topic: st.topic}
	if len(run.addresses) > 1 {
		job.Dial = make(map[string]string)
		for i, upstream := range st.route.upstream {
			job.Dial[upstream] = run.addresses[i]
		}
	}
	return job
}

// pinnable reports whether the load can be offered at a fixed rate: a consumer of
// franz-go reads as fast as it can.
func (st *stage) pinnable() bool {
	return st.work.Kind != idle && (!st.real() || st.work.Key != kmsg.Fetch.Int16())
}

// runWorkload runs a workload with all targets in turns. A failure of one target is noted
// in its row; the returned error ends the run.
func (s *suite) runWorkload(ctx context.Context, st *stage) error {
	runs := make(map[*row]*running)
	defer func() {
		for r, run := range runs {
			if s.kept[r.Target] != run {
				run.stop()
			}
		}
	}()
	if st.work.fresh() {
		s.stopKept() // it would be in the machine's memory
	} else {
		for _, r := range st.rows {
			s.begin(ctx, st, r, runs)
		}
	}
	if err := s.rounds(ctx, st, runs, 0); err != nil {
		return err
	}
	if !st.pinnable() {
		return nil
	}
	rate, ok := s.rates[st.work.RateOf]
	if !ok {
		rate = s.pinnedRate(st)
	}
	if rate == 0 {
		return nil
	}
	s.rates[st.work.Name] = rate
	return s.rounds(ctx, st, runs, rate)
}

// begin starts a target and warms it up. A target with a long warm-up is kept for the
// next workloads, which warm it up again for a shorter time.
func (s *suite) begin(ctx context.Context, st *stage, r *row, runs map[*row]*running) {
	t := s.target(r.Target)
	warmup := t.warmup
	keep := warmup > 0 && !s.quick && !st.work.fresh() && !st.work.hasTLS() // with TLS it has another configuration
	if kept := s.kept[t.name]; keep && kept != nil && kept.server.Alive() == nil {
		runs[r], warmup = kept, min(warmup, warmAgain)
	} else if runs[r] = s.launch(ctx, st, r, t); runs[r] == nil || !keep {
		return
	} else {
		kept.stop() // it has ended by itself, if there was one
		s.kept[t.name] = runs[r]
	}
	s.progress.say("%s warms up, %v", t.name, warmup)
	if err := s.warm(ctx, st, runs[r], warmup); err != nil {
		r.note(fmt.Errorf("warming up: %w", err))
	}
}

// warmAgain is how long a target that was kept is warmed up in a further workload.
const warmAgain = 10 * time.Second

// stopKept stops the targets that begin has kept.
func (s *suite) stopKept() {
	for name, run := range s.kept {
		run.stop()
		delete(s.kept, name)
	}
}

// launch starts a target. If that fails, it returns nil, and notes the failure in the
// row.
func (s *suite) launch(ctx context.Context, st *stage, r *row, t target) *running {
	// Ports of its own: HAProxy shares one with other processes that listen there.
	port, err := s.ports.Block(ctx, "127.0.0.1")
	if err != nil {
		r.note(err)
		return nil
	}
	way := st.route
	way.port = port
	run, err := t.run(ctx, s.env, way)
	if err != nil {
		r.note(err)
		return nil
	}
	s.report.configure(t.name, st, run.config)
	return run
}

// warm runs the workload for d, and measures nothing.
func (s *suite) warm(ctx context.Context, st *stage, run *running, d time.Duration) error {
	load, err := s.env.startLoad(ctx, st.place.client, loadJob{
		Work: st.work, Address: run.addresses[0], Duration: d, Cluster: st.clusterJob(run), Keys: run.keys,
	})
	if err != nil {
		return err
	}
	if err := load.follow(func(int, mark) error { return nil }); err != nil {
		return err
	}
	return load.close()
}

// rounds gives each target a turn in each round, in an order drawn for it, so that each
// target follows different ones. It is the same in each run.
func (s *suite) rounds(ctx context.Context, st *stage, runs map[*row]*running, rate float64) error {
	for round := range s.plan.rounds {
		for _, i := range order(st.work.Name, rate, round, len(st.rows)) {
			r := st.rows[i]
			s.progress.say("%s %s", st.work.Name, r.Target)
			err := s.turn(ctx, st, r, runs, round, rate)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				r.note(err)
			}
			s.progress.step()
		}
	}
	return nil
}

// order is that of the turns of n targets in one round.
func order(workload string, rate float64, round, n int) []int {
	h := fnv.New64()
	_, _ = h.Write([]byte(workload)) // never fails
	load := uint64(round) << 1
	if rate > 0 {
		load++
	}
	return rand.New(rand.NewPCG(h.Sum64(), load)).Perm(n)
}

func (s *suite) turn(ctx context.Context, st *stage, r *row, runs map[*row]*running, round int, rate float64) error {
	if st.work.fresh() {
		s.begin(ctx, st, r, runs)
		defer func() {
			runs[r].stop()
			delete(runs, r)
		}()
	}
	run := runs[r]
	if run == nil {
		return nil // its row says why
	}
	if run.server != nil {
		if err := run.server.Alive(); err != nil {
			return err
		}
	}
	f, err := s.measure(ctx, st, run, rate)
	if err != nil {
		return err
	}
	r.add(round, s.plan.rounds, f)
	if rate > 0 && f[pinned+reqPerS] < rate*keptUp {
		r.behind++
	}
	return nil
}

// keptUp is the part of the pinned rate that a target must carry.
const keptUp = 0.97

// pinnedRate is a part of the slowest target's maximum.
func (s *suite) pinnedRate(st *stage) float64 {
	slowest := math.Inf(1)
	for _, r := range st.rows {
		if m := r.series(reqPerS).median(); !math.IsNaN(m) {
			slowest = min(slowest, m)
		}
	}
	if math.IsInf(slowest, 1) {
		return 0
	}
	return slowest * s.share
}

func (s *suite) target(name string) target {
	i := slices.IndexFunc(s.targets, func(t target) bool { return t.name == name })
	return s.targets[i]
}
