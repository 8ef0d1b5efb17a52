package simulate

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kproxy/internal/wait"
	"kproxy/proxy"
)

// Surroundings are the networks and the limits of a run.
type Surroundings struct {
	Outside, Inside Network // of the clients, and of the brokers
	Files           *Files
	// Quiet waits until no goroutine can go on before time passes: synctest.Wait. nil: there is
	// no such moment.
	Quiet func()
	// Fails says that system calls fail now and then, by which sessions end.
	Fails bool
	// Longest is the longest pause between two steps; 0: as the script has it.
	Longest time.Duration
	// Patience is how long a thing may take that has to happen.
	Patience time.Duration
	// ParkAfter and SplicePipes are those of the configuration.
	ParkAfter   time.Duration
	SplicePipes int
}

// run is one run of a script.
type run struct {
	Surroundings

	script  Script
	ctx     context.Context // ends the waits of all goroutines of the run
	cancel  context.CancelFunc
	began   time.Time
	proxy   *proxy.Proxy
	conf    current
	brokers *brokers
	records *records
	clients map[int]*client
	probes  int            // clients of the director's own
	living  sync.WaitGroup // the clients' steps
	reading sync.WaitGroup
	drained chan struct{} // closed when Shutdown has returned; nil: it was not called

	mu       sync.Mutex // guards the following
	findings []string
	ends     []ending
	accepted map[string]time.Time // by the client's address
	draining time.Time            // zero: not yet
	known    bool                 // kproxy knows where the brokers are, and they do not move
	removed  bool                 // a reload has removed fred
	idle     bool                 // an idle_timeout is set, or was
	held     bool                 // brokers have delayed or held responses
	jumped   bool                 // the clock has jumped
	jumps    []stop               // of the clock
	limited  bool                 // bob's clients are limited, or were
}

// ending is the end of one session, as kproxy reports it.
type ending struct {
	session proxy.Session
	end     proxy.SessionEnd
	at      time.Time
}

// Run runs a script, and returns its findings; none: every invariant has held.
func Run(s Script, around Surroundings) []string {
	r := &run{
		Surroundings: around, script: s, began: time.Now(), conf: current{Settings: s.Settings, fred: true},
		records: newRecords(), clients: map[int]*client{}, accepted: map[string]time.Time{}, idle: s.Settings.Idle > 0,
		limited: s.Settings.Limit > 0 || s.Settings.Source > 0,
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer r.cancel()
	r.brokers = newBrokers(r, around.Inside)
	r.brokers.goOn()
	if r.start() {
		if r.direct(); r.finish() {
			r.checkAll()
		}
	}
	r.mu.Lock() // goroutines may be left
	defer r.mu.Unlock()
	return slices.Clone(r.findings)
}

// fail adds a finding.
func (r *run) fail(format string, args ...any) {
	const most = 20
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.findings) < most {
		text := time.Since(r.began).String() + " " + fmt.Sprintf(format, args...)
		r.findings = append(r.findings, text[:min(len(text), 1000)])
	}
}

// start starts the proxy.
func (r *run) start() bool {
	conf := r.conf.config(r)
	p, err := proxy.New(conf)
	if err == nil {
		r.proxy = p
		err = p.Start(context.Background())
	}
	if err != nil {
		r.fail("start: %v", err)
		r.brokers.close()
		return false
	}
	return true
}

// sessionClosed is the Observer's.
func (r *run) sessionClosed(s proxy.Session, e proxy.SessionEnd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, ending{s, e, time.Now()})
}

// listen opens a socket of the proxy's, has its advertised address lead to it, and notes which
// clients it accepts.
func (r *run) listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := r.Outside.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	for listener := range listeners {
		for node := int32(proxy.NoNode); node < brokerCount; node++ {
			if boundAt(listener, node) == address {
				r.Outside.Alias(advertisedAt(listener, node), address)
			}
		}
	}
	return &noting{l, r}, nil
}

type noting struct {
	net.Listener
	run *run
}

func (l *noting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.run.mu.Lock()
		l.run.accepted[conn.RemoteAddr().String()] = time.Now()
		l.run.mu.Unlock()
	}
	return conn, err
}

// direct does the steps of the script.
func (r *run) direct() {
	last := time.Duration(0)
	for _, step := range r.script.Steps {
		gap := step.At - last
		if last = step.At; r.Longest > 0 {
			gap = min(gap, r.Longest)
		}
		if gap > 0 {
			r.checkNow()
			wait.Sleep(r.ctx, gap)
		}
		r.step(step)
	}
	r.checkNow()
}

func (r *run) step(step Step) {
	switch step.Who {
	case "client":
		r.client(step)
	case "broker":
		waits := step.Verb == "delays" || step.Verb == "holds"
		if waits && r.drained != nil {
			return
		}
		r.set(func() {
			r.known = r.known && step.Verb != "moves" && step.Verb != "swaps"
			r.held = r.held || waits
		})
		r.brokers.step(step)
	case proxyItself:
		switch step.Verb {
		case "reloads":
			r.reload(step)
		case "settles":
			r.settle()
		case "jumps":
			r.jump(step.duration(0))
		case "drains":
			r.drain()
		}
	}
}

// client has a client do a step.
func (r *run) client(step Step) {
	c := r.clients[step.N]
	if c == nil {
		c = newClient(r, step.N)
		r.clients[step.N] = c
		r.living.Go(c.live)
	}
	switch step.Verb {
	case "pauses":
		c.quiet(r.drained == nil)
	case "reads":
		c.quiet(false)
	default:
		c.steps <- step
	}
}

// reload gives the proxy another configuration.
func (r *run) reload(step Step) {
	if r.drained != nil {
		return
	}
	for _, change := range step.Args {
		if err := r.conf.change(change); err != nil {
			r.fail("%s: %v", step, err)
		}
	}
	r.set(func() {
		r.removed = r.removed || !r.conf.fred
		r.idle = r.idle || r.conf.Idle > 0
		r.limited = r.limited || r.limit() > 0
	})
	change, err := r.proxy.Prepare(r.ctx, r.conf.config(r))
	if err != nil {
		r.fail("%s: %v", step, err)
		return
	}
	change.Apply()
}

// jumpsAt reports whether no byte arrives at a time.
func (r *run) jumpsAt(t time.Time) bool {
	return slices.ContainsFunc(r.jumps, func(s stop) bool { return !t.Before(s.from) && t.Before(s.until) })
}

// jump has time pass in which no byte arrives.
func (r *run) jump(d time.Duration) {
	outside, ok := r.Outside.(*Memory)
	inside, ok2 := r.Inside.(*Memory)
	if !ok || !ok2 || r.drained != nil {
		return // the system's clock is not for tests
	}
	now := time.Now()
	r.set(func() {
		r.held, r.jumped = true, true
		r.jumps = append(r.jumps, stop{now, now.Add(d)})
	})
	outside.Stop(d)
	inside.Stop(d)
	wait.Sleep(r.ctx, d)
}

// drain has the proxy shut down, while clients and brokers are still held up. They go on a
// moment later.
func (r *run) drain() {
	if r.drained != nil {
		return
	}
	r.set(func() { r.draining = time.Now() })
	r.drained = make(chan struct{})
	go func() {
		defer close(r.drained)
		r.proxy.Shutdown(context.Background())
	}()
	wait.Sleep(r.ctx, 20*time.Millisecond)
	r.brokers.goOn()
	r.allRead()
}

// finish has everything end. It reports whether everything has.
func (r *run) finish() bool {
	r.drain()
	select {
	case <-r.drained:
	case <-time.After(r.drainTimeout() + r.Patience):
		r.fail("Shutdown does not return") // and the run cannot end, either
		return false
	}
	for _, c := range r.clients {
		close(c.steps)
	}
	r.living.Wait()
	r.reading.Wait()
	r.brokers.close()
	return true
}

// drainTimeout is drain.timeout: a short one, where time costs something.
func (r *run) drainTimeout() time.Duration {
	if r.Longest > 0 {
		return min(r.conf.Drain, r.Patience)
	}
	return r.conf.Drain
}

func (r *run) allRead() {
	for _, c := range r.clients {
		c.quiet(false)
	}
}

func (r *run) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// isSettled reports whether kproxy knows where the brokers are.
func (r *run) isSettled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// eventually waits until a condition holds. It reports whether it does in time.
func (r *run) eventually(holds func() bool) bool {
	const looks = 500
	for range looks {
		if holds() {
			return true
		}
		wait.Sleep(r.ctx, r.Patience/looks)
	}
	return holds()
}

// word is the nth argument of a step; "": it has none.
func (s Step) word(n int) string {
	if n >= len(s.Args) {
		return ""
	}
	return s.Args[n]
}

// number is the nth argument as a number; 0: it is none.
func (s Step) number(n int) int {
	i, _ := strconv.Atoi(s.word(n))
	return max(i, 0)
}

// duration is the nth argument as a time; 0: it is none.
func (s Step) duration(n int) time.Duration {
	d, _ := time.ParseDuration(s.word(n))
	return d
}

// current is the current configuration of a run.
type current struct {
	Settings

	fred    bool // there is a listener fred
	renewed bool // the listeners have their second certificate
}

// change applies one change of a reload.
func (c *current) change(text string) error {
	switch name, value, _ := strings.Cut(text, "="); name {
	case "fred":
		c.fred = true
	case "-fred":
		c.fred = false
	case "renewed":
		c.renewed = !c.renewed
	default:
		kept := c.Settings
		flags := c.flags() // which sets the defaults
		c.Settings = kept
		err := flags.Set(name, value)
		if c.Limit > 0 {
			c.Source = min(c.Source, c.Limit) // a larger one is a mistake
		}
		return err
	}
	return nil
}
