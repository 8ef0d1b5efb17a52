//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"kproxy/e2e/lab"
)

// section is the result of one release.
type section struct {
	version string
	cells   []*cell
	leaks   int // connections to a broker's own address
	took    time.Duration
	// complaints are kproxy's errors.
	complaints string
}

// cell is one work of one client with one release.
type cell struct {
	client *client
	work   *work

	attempt         int // counts from 1
	direct, proxied result
	outcome         outcome
	why             string // the failure, or a note
}

// result is the result of one trial.
type result struct {
	err     error
	version string // of the client
	notes   []string
}

type outcome int

const (
	passed outcome = iota
	failed
	unavailable // the client does not offer it
	alike       // it fails without kproxy just so
)

// judge compares the two trials of an attempt.
func (c *cell) judge(direct, proxied *trial) {
	before := c.why
	c.compare(direct, proxied)
	c.attempt++
	if c.attempt > 1 {
		c.why = strings.TrimPrefix(fmt.Sprintf("%s; attempt %d; before: %s", c.why, c.attempt, oneLine(before)), "; ")
	}
}

func (c *cell) compare(direct, proxied *trial) {
	var none notOfferedError
	switch {
	case errors.As(c.direct.err, &none) && errors.As(c.proxied.err, new(notOfferedError)):
		c.outcome, c.why = unavailable, string(none)
	case c.proxied.err == nil && c.direct.err == nil:
		c.outcome, c.why = passed, strings.Join(c.proxied.notes, "; ")
		if c.work.compare == nil {
			return
		}
		if err := c.work.compare(direct, proxied); err != nil {
			c.outcome, c.why = failed, err.Error()
		}
	case c.proxied.err == nil:
		c.outcome, c.why = passed, "fails directly: "+c.direct.err.Error()
	case c.direct.err != nil && sameFailure(c.direct.err, c.proxied.err):
		c.outcome, c.why = alike, c.direct.err.Error()
	default:
		c.outcome, c.why = failed, fmt.Sprintf("%v (directly: %v)", c.proxied.err, c.direct.err)
	}
}

// sameFailure reports whether two runs failed at the same step.
func sameFailure(a, b error) bool {
	step := func(err error) string { s, _, _ := strings.Cut(err.Error(), ":"); return s }
	return step(a) == step(b) && !strings.Contains(b.Error(), "broker's own address")
}

// runRelease runs the cells of a release. A cell that fails is no error.
func runRelease(ctx context.Context, b *build, version string, clients []*client, cells []*cell, o options) (s *section, err error) {
	began := time.Now()
	release, err := lab.NewRelease(ctx, version)
	if err != nil {
		return nil, err
	}
	p, err := newPlaces()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if release, err = b.withTelemetry(ctx, release); err != nil {
		return nil, err
	}
	cluster, err := startKafka(ctx, b, p, release, kafkaDir(b, version))
	if cluster != nil {
		defer cluster.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, complaintsOf(cluster))
	}
	if o.record != "" {
		recorder, err := p.record(ctx)
		if err != nil {
			return nil, err
		}
		defer func() {
			recorder.Close()
			if saved := recorder.Save(o.record, version); err == nil {
				err = saved
			}
		}()
	}
	kproxy, err := p.startKproxy(ctx, b.kproxy, filepath.Join(b.dir, "kproxy-"+version), o.record != "")
	if err != nil {
		return nil, err
	}
	defer kproxy.Kill()

	fmt.Fprintf(o.stdout, "Kafka %s: %d cells\n", version, len(cells))
	s = &section{version: version, cells: cells}
	tty := term.IsTerminal(int(os.Stderr.Fd()))
	r := &releaseRun{stdout: o.stdout, quick: o.quick, build: b, clients: clients, places: p, cluster: cluster, tty: tty, bar: newBar(version, len(cells), tty)}
	workers := o.workers
	if o.quick && version != lab.Newest {
		workers *= 2 // kcat and franz-go wait most of the time
	}
	if err := r.runAll(ctx, cells, workers); err != nil {
		return s, err
	}
	s.took = time.Since(began)
	s.complaints = kproxy.Complaints()
	s.leaks, err = p.leaks(ctx)
	if err == nil {
		err = kproxy.Alive()
	}
	return s, err
}

func complaintsOf(c *lab.Cluster) string {
	if c == nil {
		return ""
	}
	return c.Complaints()
}

func newBar(version string, cells int, show bool) *progressbar.ProgressBar {
	return progressbar.NewOptions(cells, progressbar.OptionSetDescription("Kafka "+version), progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(show), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(200*time.Millisecond))
}

// releaseRun is a release while its cells run.
type releaseRun struct {
	stdout  io.Writer
	quick   bool
	build   *build
	places  *places
	cluster *lab.Cluster
	clients []*client
	notes   []string // of the networks' work that runs

	mu       sync.Mutex // of the following
	bar      *progressbar.ProgressBar
	tty      bool // the bar shows
	finished int
}

func (r *releaseRun) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// runAll runs the cells: those of the networks, one at a time; those of one client
// each, some at a time; and those that all clients share.
func (r *releaseRun) runAll(ctx context.Context, cells []*cell, workers int) error {
	if err := r.runNetworks(ctx, cells); err != nil {
		return err
	}
	todo := make(chan *cell)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range todo {
				r.runCell(ctx, c)
			}
		})
	}
	for _, c := range cells {
		if c.work.run != nil {
			todo <- c
		}
	}
	close(todo)
	wg.Wait()
	for _, w := range works {
		shared := slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool { return c.work != w })
		if w.change == nil || len(shared) == 0 {
			continue
		}
		for range attempts {
			if err := r.runShared(ctx, w, shared); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			shared = slices.DeleteFunc(shared, func(c *cell) bool { return c.outcome != failed })
			if len(shared) == 0 {
				break
			}
		}
	}
	return ctx.Err()
}

// attempts is how often a cell is tried: clients have occasional faults of their own. A
// cell that passes late has a note.
const attempts = 3

// runCell runs both trials of a cell at once.
func (r *releaseRun) runCell(ctx context.Context, c *cell) {
	for c.attempt < attempts && (c.attempt == 0 || c.outcome == failed) && ctx.Err() == nil {
		direct, proxied := r.trials(c)
		var wg sync.WaitGroup
		wg.Go(func() { c.direct = direct.do(ctx, c.work) })
		wg.Go(func() { c.proxied = proxied.do(ctx, c.work) })
		wg.Wait()
		c.judge(direct, proxied)
	}
	r.done(c)
}

func (r *releaseRun) done(c *cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.outcome == failed {
		_ = r.bar.Clear()
		fmt.Fprintf(r.stdout, "FAILED Kafka %s, %s, %s: %s\n", r.cluster.Release.Version, c.client.name, c.work.name, c.why)
	}
	_ = r.bar.Add(1)
	r.finished++
	if r.finished%20 == 0 && !r.tty {
		fmt.Fprintf(r.stdout, "Kafka %s: %d cells done\n", r.cluster.Release.Version, r.finished)
	}
}

// trials are a cell's two runs, by names of their own.
func (r *releaseRun) trials(c *cell) (direct, proxied *trial) {
	name := strings.NewReplacer(" ", "-", ",", "").Replace(fmt.Sprintf("%s-%s-%d", c.client.name, c.work.name, c.attempt))
	seeds := func(port int) string { return lab.HostPort(brokerName(1), port) }
	direct = &trial{
		client: c.client, place: r.places.vpc, version: r.cluster.Release.Version, cluster: r.cluster,
		plain: seeds(plainPort), sasl: seeds(saslPort), readers: seeds(plainPort), name: name + "-direct", fill: r.fill,
	}
	proxied = &trial{
		client: c.client, place: r.places.outside, version: r.cluster.Release.Version, cluster: r.cluster,
		plain: alice, sasl: aliceSASL, readers: aliceReaders, name: name + "-kproxy", proxied: true, fill: r.fill,
	}
	return direct, proxied
}

// do does a work, and deletes its topics.
func (t *trial) do(ctx context.Context, w *work) result {
	err := w.run(ctx, t)
	_, _ = t.cluster.Admin.DeleteTopics(ctx, t.name) // most works made one
	return result{err: err, version: t.last().Version, notes: t.notes}
}

// last is the client's last response.
func (t *trial) last() response {
	if len(t.told) == 0 {
		return response{}
	}
	return t.told[len(t.told)-1]
}

func (t *trial) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}
