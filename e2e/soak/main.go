//go:build linux

// Command soak runs one kproxy for hours under a small load of every kind, and reports
// whether anything in it grows.
//
//	clients                       kproxy                         three brokers
//	a load whose history is ────▶ plain: a port for each broker ──▶ restarted, one
//	checked, by each way    ────▶ edge:  TLS, a name for each   ──▶ after the other;
//	short-lived clients     ────▶                               ──▶ leaders move
//	strays: no client at all ───▶ spare: comes and goes
//	                              its configuration and its certificates change
//
// The load is that of package workload at a pinned rate, in parts of three minutes: each has
// its own topics and groups, whose members come and go, and its history is checked. Two
// probes produce ten records a second, through kproxy and directly.
//
// Every ten seconds a sample is taken: memory, descriptors, goroutines, threads, sessions,
// latency (sample.go). In the end verdict.go computes the trend of each figure in the second
// half of the run, and kproxy must come back to its state before the load.
//
//	go run ./e2e/soak -t 1h -out dist/soak     dist/soak.html, .md and .json, also of a run that goes on
//	go run ./e2e/soak -t 4m -each 3s -plant memory,files,goroutines     leaks in kproxy (plant.go), which the run must find
//
// It needs root, Java 17 and ip, and 2.5 GiB of memory. Exit code 1: something grows, something
// failed, or a planted leak was not found.
//
// site.go is the network, the brokers and kproxy, load.go the clients, changes.go the
// changes around them, report.go, chart.go and page.gohtml the results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"kproxy/e2e/lab"
)

func main() {
	if err := soak(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// options are the flags.
type options struct {
	Time  time.Duration
	Each  time.Duration
	Rate  int
	Out   string
	Dir   string
	Plant string
	Again string
}

func soak() error {
	var o options
	flag.DurationVar(&o.Time, "t", time.Hour, "how long the load runs")
	flag.DurationVar(&o.Each, "each", 10*time.Second, "the time between two samples")
	flag.IntVar(&o.Rate, "rate", 10, "records a second of each of the six producers")
	flag.StringVar(&o.Out, "out", "dist/soak", "the files to write, without their extensions")
	flag.StringVar(&o.Dir, "dir", "", "keep the files and logs of the run in this directory")
	flag.StringVar(&o.Plant, "plant", "", "leaks to build into kproxy, parted by commas: memory, files, goroutines")
	flag.StringVar(&o.Again, "again", "", "write the pages of an earlier run from this .json")
	flag.Parse()
	if o.Again != "" {
		return again(o.Again)
	}
	if shortest := (2*blocks*perBlock + 2) * o.Each; o.Time < shortest {
		return fmt.Errorf("-t %v: a verdict needs %v, or samples more often", o.Time, shortest)
	}
	leaked, err := o.planted()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &site{options: o, began: time.Now(), counts: map[string]int{}}
	defer s.Close()
	if err := s.start(ctx); err != nil {
		return err
	}
	r, err := s.run(ctx)
	if err != nil {
		return err
	}
	if o.Plant != "" {
		return errors.Join(s.write(r), s.found(r, leaked))
	}
	return errors.Join(s.write(r), r.verdict())
}

// run runs the load, with the changes around it, and takes samples.
func (s *site) run(ctx context.Context) (*report, error) {
	r := &report{
		Began: time.Now(), Revision: s.revision, Machine: lab.Machine(),
		Planned: s.Time.String(), Rate: s.Rate, Plant: s.Plant,
	}
	if err := s.cluster.NewTopic(ctx, 1, map[string]*string{"retention.bytes": new("1048576")}, probeTopic); err != nil {
		return nil, err
	}
	through, err := newProbe(s.ways()[0].options())
	if err != nil {
		return nil, err
	}
	direct, err := newProbe(s.direct())
	if err != nil {
		return nil, err
	}
	if r.Before, err = s.usage(ctx); err != nil {
		return nil, err
	}
	loading, cancel := context.WithTimeout(ctx, s.Time)
	defer cancel()
	l := &loads{site: s}
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){
		l.run, l.moves, s.clients, s.strays, s.reloads, s.renewals, s.restarts,
		func(ctx context.Context) { through.run(ctx, s, "through kproxy") },
		func(ctx context.Context) { direct.run(ctx, s, "past kproxy") },
	} {
		wg.Go(func() { f(loading) })
	}
	each(loading, s.Each, func(int) { s.sample(loading, r, through, direct) })
	wg.Wait()
	return r, s.rest(ctx, r)
}

// missed are the samples that could not be taken.
const missed = "samples missed"

// sample takes one sample, and writes the report so far now and then.
func (s *site) sample(ctx context.Context, r *report, through, direct *probe) {
	u, err := s.usage(ctx)
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil {
		s.count(missed, 1) // a busy machine misses one now and then
		s.progress("no sample: %v", err)
		return
	}
	u.Seconds = time.Since(r.Began).Seconds()
	u.P50, u.P99 = through.read()
	u.DirectP50, u.DirectP99 = direct.read()
	r.Samples = append(r.Samples, u)
	if len(r.Samples)%30 == 0 {
		s.progress("%.1f MiB resident, %.1f MiB heap, %.0f descriptors, %.0f goroutines, %.0f sessions",
			u.RSS/mib, u.Heap/mib, u.Files, u.Goroutines, u.Sessions)
		if err := s.write(r); err != nil {
			s.fault(ctx, "write the report: %v", err)
		}
	}
}

// rest waits until kproxy has no session, and compares it with its state before the load.
func (s *site) rest(ctx context.Context, r *report) error {
	if err := s.reload(ctx, usual(), true); err != nil {
		return err
	}
	err := lab.Poll(ctx, 2*settle, func() (err error) {
		if r.After, err = s.usage(ctx); err != nil {
			return lab.Permanent(err)
		}
		return r.atRest()
	})
	if err != nil {
		s.fault(ctx, "without load: %v", err)
	}
	r.Log = s.proc.Complaints()
	if err := s.proc.Stop(settle); err != nil {
		s.fault(ctx, "stop: %v", err)
	}
	r.Ended = true
	return nil
}
