package simulate

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/netlab"
)

var (
	seeds     = flag.Int("simulate.n", 200, "how many seeds are run in memory")
	firstSeed = flag.Uint64("simulate.seed", 1, "the first seed")
	overTCP   = flag.Int("simulate.sockets", 8, "how many seeds are run over sockets")
	again     = flag.Int("simulate.again", 100, "how often a seed that has failed is run again, with one processor and with two")
	mostFound = flag.Int("simulate.most", 3, "the number of seeds that have failed after which no others are run")
	// The next two are the worker's: TestSeeds sets them in a process of its own.
	workerStep  = flag.Uint64("simulate.step", 0, "from one of the worker's seeds to the next; 0: all are the same")
	workerCount = flag.Int("simulate.worker", 0, "how many seeds the worker runs; 0: this is no worker")
)

// files are those of all runs of this process.
var files *Files

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is one for temporary files
	files = NewFiles(owner(dir))
	m.Run()
}

// owner has the files of all tests, in a directory.
type owner string

func (owner) Helper()           {}
func (owner) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (o owner) TempDir() string { return string(o) }

// hang is how long one run may take. A run in memory takes milliseconds.
const hang = time.Minute

// inMemory runs a script in a bubble.
func inMemory(t *testing.T, s Script) (findings []string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := Weather{Seed: s.Settings.Seed, Delay: s.Settings.Delay, Piece: s.Settings.Piece, Window: s.Settings.Window, Stall: s.Settings.Stall}
		inside := w
		inside.Seed++
		findings = Run(s, Surroundings{
			Outside: NewMemory(w), Inside: NewMemory(inside), Files: files, Quiet: synctest.Wait, Patience: 5 * time.Minute, ParkAfter: -1, SplicePipes: -1,
		})
	})
	return findings
}

// overSockets runs a script over TCP on loopback, without its long pauses. fails is that of
// [Surroundings].
func overSockets(s Script, fails bool) []string {
	return Run(s, Surroundings{
		Outside: new(netlab.Network), Inside: new(netlab.Network), Files: files, Longest: 30 * time.Millisecond, Patience: 20 * time.Second, ParkAfter: 20 * time.Millisecond,
		Fails: fails,
	})
}

// TestWorker runs seeds, and writes its findings to its output. It is another process, so that
// a seed by which kproxy crashes or hangs is known.
func TestWorker(t *testing.T) {
	if *workerCount == 0 {
		t.Skip("TestSeeds runs it")
	}
	seed := *firstSeed
	for range *workerCount {
		fmt.Fprintf(os.Stdout, "seed %d\n", seed)
		watchdog := time.AfterFunc(hang, func() { panic(fmt.Sprintf("seed %d hangs", seed)) })
		for _, finding := range inMemory(t, Generate(seed)) {
			fmt.Fprintf(os.Stdout, "found %s\n", strings.ReplaceAll(finding, "\n", " "))
		}
		watchdog.Stop()
		seed += *workerStep
	}
	fmt.Fprintln(os.Stdout, "done")
}

// failure is a seed that has failed.
type failure struct {
	seed uint64
	text string
}

// work runs a worker, and further ones behind each crash. stop is asked before each seed.
func work(t *testing.T, seed, step uint64, count, processors int, found func(failure), stop func() bool) (ran int) {
	t.Helper()
	for ran < count && !stop() {
		before := ran
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorker$", "-test.timeout=0",
			"-simulate.worker="+strconv.Itoa(count-ran), "-simulate.step="+strconv.FormatUint(step, 10),
			"-simulate.seed="+strconv.FormatUint(seed+uint64(ran)*step, 10))
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(processors), "GOTRACEBACK=all", "GORACE=halt_on_error=1")
		var crash head
		cmd.Stderr = &crash
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var now failure
		report := func() {
			if now.text != "" {
				found(now)
			}
		}
		done := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "seed "):
				report()
				n, _ := strconv.ParseUint(strings.TrimPrefix(line, "seed "), 10, 64)
				now = failure{seed: n}
				if ran++; stop() {
					_ = cmd.Process.Kill() // it is waited for below
					now.text, done = "", true
				}
			case strings.HasPrefix(line, "found "):
				now.text += strings.TrimPrefix(line, "found ") + "\n"
			case line == "done":
				done = true
			default:
				crash.add(line + "\n")
			}
		}
		if err := cmd.Wait(); err != nil && !done {
			now.text += fmt.Sprintf("the process has ended: %v\n%s", err, crash.text())
		}
		report()
		if ran == before {
			t.Errorf("a worker runs no seed:\n%s", crash.text())
			break
		}
	}
	return ran
}

// head keeps the first bytes that are written to it.
type head struct {
	mu   sync.Mutex
	kept []byte
}

func (c *head) Write(b []byte) (int, error) {
	c.add(string(b))
	return len(b), nil
}

func (c *head) add(text string) {
	const most = 6000
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, text[:min(len(text), most-min(most, len(c.kept)))]...)
}

func (c *head) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.kept)
}

// TestSeeds runs the scripts of many seeds in memory. If one fails, it prints the script, runs
// it again many times, and says how often it fails.
func TestSeeds(t *testing.T) {
	if *workerCount > 0 {
		t.Skip("this is a worker")
	}
	var mu sync.Mutex
	var failures []failure
	var stopped atomic.Bool
	began := time.Now()
	workers := runtime.NumCPU()
	var running sync.WaitGroup
	var ran atomic.Int64
	for i := range min(workers, *seeds) {
		running.Go(func() {
			count := (*seeds - i + workers - 1) / workers
			n := work(t, *firstSeed+uint64(i), uint64(workers), count, 1+i%2, func(f failure) {
				mu.Lock()
				defer mu.Unlock()
				t.Logf("seed %d fails: %s", f.seed, strings.SplitN(f.text, "\n", 2)[0])
				if failures = append(failures, f); len(failures) >= *mostFound {
					stopped.Store(true)
				}
			}, stopped.Load)
			ran.Add(int64(n))
		})
	}
	running.Wait()
	took := time.Since(began)
	t.Logf("%d seeds, %d failed, %.0f seeds a second", ran.Load(), len(failures), float64(ran.Load())/took.Seconds())
	for _, f := range failures {
		t.Errorf("seed %d, of %d that have run:\n%s\n%s\n%s", f.seed, ran.Load(), f.text, Generate(f.seed), repeat(t, f.seed))
	}
}

// repeat runs a seed again, and says how often it fails.
func repeat(t *testing.T, seed uint64) string {
	t.Helper()
	var said []string
	for _, processors := range []int{1, 2} {
		failed := 0
		ran := work(t, seed, 0, *again, processors, func(failure) { failed++ }, func() bool { return false })
		said = append(said, fmt.Sprintf("run again with GOMAXPROCS=%d, it fails %d times of %d", processors, failed, ran))
	}
	return strings.Join(said, "\n")
}

// TestScripts runs the scripts of testdata, each of which has found a fault.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.script")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				if findings := inMemory(t, s); len(findings) > 0 {
					t.Fatal(strings.Join(findings, "\n"))
				}
			}
			if findings := overSockets(s, false); len(findings) > 0 {
				t.Errorf("over sockets: %s", strings.Join(findings, "\n"))
			}
		})
	}
}

// atOnce is how many scripts run over sockets at one time: most of their time they wait.
const atOnce = 8

// TestSockets runs the scripts of some seeds over TCP on loopback, where sessions are spliced
// and parked.
func TestSockets(t *testing.T) {
	if *workerCount > 0 {
		t.Skip("this is a worker")
	}
	manySockets(t, *overTCP, false)
}

// manySockets runs the scripts of some seeds over sockets. fails says that sessions may end by
// system calls that fail.
func manySockets(t *testing.T, count int, fails bool) {
	t.Helper()
	before := runtime.NumGoroutine()
	began := time.Now()
	var next, failed atomic.Int64
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() {
			for n := next.Add(1); n <= int64(count) && failed.Load() == 0; n = next.Add(1) {
				seed := *firstSeed + uint64(n-1)
				if findings := overSockets(Generate(seed), fails); len(findings) > 0 {
					failed.Add(1)
					t.Errorf("seed %d, of %d that have run:\n%s\n%s", seed, n, strings.Join(findings, "\n"), Generate(seed))
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d seeds over sockets, %.1f a second", count, float64(count)/time.Since(began).Seconds())
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
		}
	}
}

// A script is the same after it was written and read.
func TestScriptText(t *testing.T) {
	for seed := range uint64(500) {
		s := Generate(seed)
		again, err := Parse(s.String())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s)
		}
		if again.String() != s.String() {
			t.Fatalf("seed %d:\n%s\nand then\n%s", seed, s, again)
		}
	}
	for _, bad := range []string{"1s", "1s client", "x client 1 dials", "1s client x dials", "1s client 1 dances", "set nothing 1", "1s proxy"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
