//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kproxy/e2e/lab"
)

// atOnce is how many suites of a quick run go on at one time. Their tests wait more than
// they work.
const atOnce = 3

// campaign runs suites.
type campaign struct {
	site  *site
	opts  options
	began time.Time

	mu  sync.Mutex // one line at a time
	out io.Writer
}

func newCampaign(s *site, o options) *campaign {
	return &campaign{site: s, opts: o, began: time.Now(), out: os.Stderr}
}

// say writes a line of progress.
func (c *campaign) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "%5.0fs  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// report is a suite's run.
type report struct {
	about   about
	command string // that repeats the run
	pkg, on string
	direct  run
	through run
	tests   map[string]tries
	err     error // the suite could not be run
}

// run is one way's first run, and kproxy's counts of both tries.
type run struct {
	results results
	took    time.Duration
	load    string // of the machine at its end, over a minute
	counts  counts
}

// runAll runs the suites and yields their reports in order, each as soon as it is there.
func (c *campaign) runAll(ctx context.Context, chosen []suite) iter.Seq2[int, *report] {
	return func(yield func(int, *report) bool) {
		places := 1
		if c.opts.quick {
			places = atOnce
		}
		var group errgroup.Group
		group.SetLimit(places)
		ready := make([]chan *report, len(chosen))
		for i := range ready {
			ready[i] = make(chan *report, 1)
		}
		go func() {
			for i, s := range chosen {
				group.Go(func() error {
					ready[i] <- c.run(ctx, s)
					return nil
				})
			}
		}()
		for i := range ready {
			if !yield(i, <-ready[i]) {
				return
			}
		}
	}
}

// run is one suite, both ways.
func (c *campaign) run(ctx context.Context, s suite) *report {
	r := &report{about: s.about(), command: "go run ./e2e/suites --suites " + s.about().name}
	if c.opts.quick {
		r.command += " --quick"
	}
	if r.err = c.runBoth(ctx, s, r); r.err != nil {
		c.say("%s: %s", r.about.name, lastLines(r.err.Error(), 25))
		return r
	}
	c.say("%s: %s", r.about.name, r.summary())
	for _, name := range names(r.direct.results, r.through.results) {
		if t := r.tests[name]; t.verdict() == against || t.verdict() == both {
			c.say("  %s: %s\n%s", name, t.verdict(), indent(t.through[len(t.through)-1].why))
		}
	}
	return r
}

func (c *campaign) runBoth(ctx context.Context, s suite, r *report) error {
	c.say("%s: fetching and building", r.about.name)
	var err error
	if r.pkg, err = s.fetch(ctx, c.site); err != nil {
		return err
	}
	b := s.brokers()
	r.on = fmt.Sprint(b)
	defer b.close()
	if err := b.start(ctx, c.site); err != nil {
		return err
	}
	group, inGroup := errgroup.WithContext(ctx)
	if !c.opts.quick {
		group.SetLimit(1)
	}
	for w, into := range []*run{directly: &r.direct, through: &r.through} {
		group.Go(func() (err error) {
			*into, err = c.try(inGroup, s, b, way(w), nil)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for w, other := range map[*run]*run{&r.direct: &r.through, &r.through: &r.direct} {
		if _, ok := w.results[processTest]; ok && other.results[processTest].outcome == missing {
			other.results[processTest] = result{outcome: passed}
		}
	}
	directAgain, throughAgain := again(r.direct.results, r.through.results)
	var second [2]run
	for w, only := range [][]string{directly: directAgain, through: throughAgain} {
		if len(only) == 0 {
			continue
		}
		if second[w], err = c.try(ctx, s, b, way(w), only); err != nil {
			return err
		}
	}
	r.through.counts = r.through.counts.add(second[through].counts)
	r.tests = judge(r.direct.results, r.through.results, second[directly].results, second[through].results)
	return nil
}

// try runs a suite's tests one way; only are those of a second try.
func (c *campaign) try(ctx context.Context, s suite, b brokers, w way, only []string) (r run, err error) {
	at, end, err := b.open(ctx, c.site, w)
	if err != nil {
		return r, err
	}
	p := &progress{campaign: c, what: fmt.Sprintf("%s, %s", s.about().name, w), results: results{}}
	if slices.Contains(only, processTest) {
		only = nil
	} else if only != nil {
		p.what += fmt.Sprintf(", %d again", len(only))
	}
	began := time.Now()
	err = c.execute(ctx, s, at, only, p)
	r.took, r.load, r.results = time.Since(began), loadAverage(), p.results
	var endErr error
	if r.counts, endErr = end(); err == nil {
		err = endErr
	}
	if _, ok := r.results[processTest]; err == nil && (len(r.results) == 0 || ok && len(r.results) == 1) {
		err = errors.New("no test ran")
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", p.what, err, tailOf(at.dir))
	}
	c.say("%s", p.line(r.took))
	return r, nil
}

// loadAverage is the kernel's number of processes that ran or waited to, over a minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

// execute runs the processes, with a line of progress now and then. Their output goes to
// the parser, and to a file of bounded size.
func (c *campaign) execute(ctx context.Context, s suite, at target, only []string, p *progress) error {
	ctx, cancel := context.WithTimeout(ctx, s.about().limit+time.Minute)
	defer cancel()
	log, err := os.Create(filepath.Join(at.dir, outputName))
	if err != nil {
		return err
	}
	defer log.Close()
	file := &bounded{w: log, left: mostOutput}
	defer p.tick(20 * time.Second)()
	var group errgroup.Group
	group.SetLimit(1)
	if only != nil {
		group.SetLimit(max(1, s.about().processes))
	}
	for _, cmd := range s.commands(ctx, at, only) {
		group.Go(func() error { return one(cmd, file, s, p) })
	}
	return cmp.Or(group.Wait(), ctx.Err())
}

const (
	outputName = "output.log"
	mostOutput = 64 << 20
)

// one runs one process. Failed tests are no error of it; a failure without a failed test
// counts as a test of its own.
func one(cmd *exec.Cmd, file io.Writer, s suite, p *progress) error {
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := lab.Start(cmd); err != nil {
		return err
	}
	parsed := make(chan error, 1)
	bad := false
	go func() { // ends with the pipe
		err := s.parse(io.TeeReader(read, file), func(name string, r result) {
			bad = bad || r.outcome == failed || r.outcome == unfinished
			p.note(name, r)
		})
		read.CloseWithError(err)
		parsed <- err
	}()
	ended := cmd.Wait()
	write.Close()
	if err := <-parsed; err != nil {
		return err
	}
	if ended != nil && !bad {
		p.note(processTest, result{outcome: failed, why: ended.Error()})
	}
	return nil
}

// processTest stands for a process that fails although no test of it does. Its second try
// is the whole suite.
const processTest = "(process)"

// progress counts the tests of a run.
type progress struct {
	campaign *campaign
	what     string

	mu      sync.Mutex // guards the following
	results results
}

func (p *progress) note(name string, r result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results[name] = r
}

// line is the state of the run.
func (p *progress) line(took time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[outcome]int{}
	for _, r := range p.results {
		n[r.outcome]++
	}
	line := fmt.Sprintf("%s: %d passed, %d failed, %d skipped", p.what, n[passed], n[failed], n[skipped])
	if n[unfinished] > 0 {
		line += fmt.Sprintf(", %d unfinished", n[unfinished])
	}
	return fmt.Sprintf("%s; %.0f s", line, took.Seconds())
}

// tick writes a line now and then, until the returned function is called.
func (p *progress) tick(every time.Duration) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	began := time.Now()
	ended.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.campaign.say("%s …", p.line(time.Since(began)))
			case <-done:
				return
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// bounded drops all but the first bytes.
type bounded struct {
	w io.Writer

	mu   sync.Mutex
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(p), b.left)
	b.left -= n
	if n == 0 {
		return len(p), nil
	}
	if _, err := b.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// tailOf are the last lines of a run's output.
func tailOf(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, outputName))
	if err != nil {
		return ""
	}
	return lastLines(string(text), 15)
}

// lastLines are the last lines of a text, cleaned.
func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	all = all[max(0, len(all)-n):]
	for i := range all {
		all[i] = clean(all[i])
	}
	return strings.Join(all, "\n")
}

func indent(text string) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ")
}
