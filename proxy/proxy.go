package proxy

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/admission"
	"kproxy/internal/errlist"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/turns"
	"kproxy/proxy/config"
)

// Proxy is a running kproxy: all clusters of a Config, and their listeners.
type Proxy struct {
	log *slog.Logger
	now atomic.Pointer[served]

	others    others       // sockets of the process that are not the Proxy's; see Own
	switching sync.RWMutex // held by Change.Apply while it changes entries, gates and configurations
	listing   sync.Mutex   // held while listeners are removed from the maps of clusters

	changing chan struct{} // holds an element while no Change is prepared

	admission  admission.Gates
	repeats    repeats
	refusals   refusals
	budget     budget
	pipes      *relay.PipePool
	parked     parkedSet
	waiters    turns.Waiters
	handshakes atomic.Pointer[turns.Places]
	turns      turns.Places // of all other work that a flood can order
	pauses     acceptPauses

	stop      context.CancelFunc // ends dials and questions of the proxy's own
	bound     atomic.Bool
	retired   atomic.Bool
	accepting sync.WaitGroup
	removing  sync.WaitGroup // listeners and clusters that are removed
	sweeping  sync.WaitGroup // the sweep, and the watch of files
	serving   sync.WaitGroup // sessions, whether they have goroutines or are parked

	living  sync.Mutex // held by Open, by Accept, by Change.Apply, and by Shutdown as it begins; guards the following
	life    life
	accepts bool
	unwatch context.CancelFunc // ends the watch of files

	mu       sync.Mutex // guards the following
	sessions map[*session]attendance
	youngest uint64         // the id of the youngest session
	gone     map[string]int // clusters that are removed and still drain, by name
	draining bool
	running  context.Context // what stop ends; nil until every endpoint is bound
}

// New returns a Proxy for conf, which must be valid (Config.Validate). It reads the
// files and secrets that conf names, all of which must be good, and opens no socket. The
// error joins a [*config.Error] for each mistake.
func New(conf *Config) (*Proxy, error) {
	plan, err := conf.Compile()
	if err != nil {
		return nil, err
	}
	p := &Proxy{sessions: map[*session]attendance{}, gone: map[string]int{}, changing: make(chan struct{}, 1), youngest: conf.IDsAbove}
	p.changing <- struct{}{}
	next := &served{conf: conf.withDefaults(plan)}
	p.log = next.conf.Logger
	p.pipes = relay.NewPipePool(next.conf.SplicePipes)
	p.parked.log = p.log
	p.budget.proxy, p.budget.line, p.budget.freed = p, make(chan struct{}, 1), make(chan struct{}, 1)
	p.limitHandshakes(next.conf.MaxHandshakes)
	p.turns = turns.NewPlaces(0, &p.waiters)
	p.admission.Init(p.log, 0) // until Start
	errs := []error{next.conf.CheckState()}
	for _, plan := range plan.Clusters {
		c, err := newServedCluster(p, &next.conf, plan)
		errs = append(errs, err)
		if c != nil {
			next.clusters = append(next.clusters, c)
		}
	}
	if err := errlist.Join(errs...); err != nil {
		for _, c := range next.clusters {
			c.Close()
		}
		return nil, err
	}
	p.now.Store(next)
	return p, nil
}

// served is a configuration of a Proxy, and everything that serves it. It does not change: a
// reload replaces it.
type served struct {
	conf      Config // defaults filled in
	clusters  []*servedCluster
	acceptors []*acceptor // from Start on
}

func (p *Proxy) conf() *Config              { return &p.now.Load().conf }
func (p *Proxy) clusters() []*servedCluster { return p.now.Load().clusters }
func (p *Proxy) acceptors() []*acceptor     { return p.now.Load().acceptors }

// cluster returns the cluster of a name; nil: there is none.
func (p *Proxy) cluster(name string) *servedCluster {
	for _, c := range p.clusters() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// limitHandshakes sets how many TLS handshakes and logins run at one time. Those that run keep
// their places.
func (p *Proxy) limitHandshakes(n int) {
	places := turns.NewPlaces(n, &p.waiters)
	p.handshakes.Store(&places)
}

// clientKeepalive finds clients that are gone without a word: a minute of
// silence, then a minute of probes. There is no TCP_USER_TIMEOUT beside it, which
// on Linux also ends a client that is alive and does not read.
var clientKeepalive = net.KeepAliveConfig{
	Enable:   true,
	Idle:     config.DefaultKeepalive,
	Interval: 15 * time.Second,
	Count:    4,
}

// The errors of Start and Open on a Proxy that is not new.
var (
	ErrStarted = errors.New("proxy: Start was called before")
	ErrClosed  = errors.New("proxy: Shutdown was called, or Start failed")
)

// life is how far a Proxy has come. It goes one way.
type life uint8

const (
	made life = iota
	started
	closed // Shutdown has begun, or Start has failed
)

// Start binds every endpoint of every listener, or none, and serves them until
// Shutdown. It returns at once; who the brokers are is asked in the background.
// Ending ctx does not end the Proxy. A Proxy starts once: later calls return
// ErrStarted, or ErrClosed after Shutdown or a Start that has failed.
//
// It is Open and Accept, one after the other.
func (p *Proxy) Start(ctx context.Context) error {
	if err := p.Open(ctx); err != nil {
		return err
	}
	p.Accept()
	return nil
}

// Open is Start for a Proxy that does not serve yet: clients wait in the sockets until Accept.
// Everything that can fail is behind it.
func (p *Proxy) Open(ctx context.Context) error {
	p.living.Lock()
	defer p.living.Unlock()
	switch p.life {
	case started:
		return ErrStarted
	case closed:
		return ErrClosed
	default:
	}
	p.life = started
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := p.open(ctx); err != nil {
		for _, c := range p.clusters() {
			c.CloseState()
		}
		p.stop()
		p.life = closed
		return err
	}
	p.bound.Store(true)
	p.mu.Lock()
	p.running = ctx
	p.mu.Unlock()
	p.settle()
	for _, c := range p.clusters() {
		c.start(ctx)
	}
	p.sweeping.Go(func() { p.sweep(ctx) })
	p.watchFiles()
	return nil
}

// Accept serves the clients of a Proxy that is open. On one that is not, it does nothing.
func (p *Proxy) Accept() {
	p.living.Lock()
	defer p.living.Unlock()
	if p.life == started && !p.accepts {
		p.accepts = true
		p.accept(p.acceptors())
	}
}

// accept starts to accept at sockets. The caller holds living.
func (p *Proxy) accept(sockets []*acceptor) {
	ctx := p.lifetime()
	for _, d := range sockets {
		p.accepting.Go(func() { d.accept(ctx) })
	}
}

// settle applies the limits of the configuration that all listeners share, and logs which names
// no certificate is for.
func (p *Proxy) settle() {
	p.limitConnections()
	p.limitHeldBytes()
	for _, err := range p.UncoveredNames() {
		p.log.Warn("clients will refuse a certificate", slog.Any(logkey.Error, err))
	}
}

// open reads the state files, and binds all endpoints. With Config.BeforeState it binds first.
func (p *Proxy) open(ctx context.Context) error {
	next := *p.now.Load()
	waits := next.conf.BeforeState != nil
	if !waits {
		if err := next.openState(ctx); err != nil {
			return err
		}
	}
	var members []member
	for _, c := range next.clusters {
		for _, l := range c.listeners() {
			members = append(members, member{l, l.conf()})
		}
	}
	for _, b := range p.bindings(members) {
		d, err := p.listen(ctx, next.conf.Listen, b)
		if err != nil {
			closeSockets(next.acceptors)
			return err
		}
		next.acceptors = append(next.acceptors, d)
	}
	if waits {
		err := next.conf.BeforeState(ctx)
		if err == nil {
			err = next.openState(ctx)
		}
		if err != nil {
			closeSockets(next.acceptors)
			return err
		}
	}
	p.now.Store(&next)
	return nil
}

// openState locks and reads the state files.
func (s *served) openState(ctx context.Context) error {
	for _, c := range s.clusters {
		if err := c.open(ctx, s.conf.StateDir); err != nil {
			return err
		}
	}
	return nil
}

// listeners yields the listeners of all clusters.
func (p *Proxy) listeners() func(yield func(*listener) bool) {
	return func(yield func(*listener) bool) {
		for _, c := range p.clusters() {
			for _, l := range c.listeners() {
				if !yield(l) {
					return
				}
			}
		}
	}
}

func closeSockets(all []*acceptor) {
	for _, d := range all {
		_ = d.socket.Close() // nothing is lost: it only accepts
	}
}

// serve runs a new session, unless the proxy is stopping, until it ends or is parked.
// headed says that a PROXY protocol header may come first.
func (p *Proxy) serve(ctx context.Context, s *session, headed bool) {
	p.mu.Lock()
	stopping := p.draining
	if !stopping {
		p.enter(s)
	}
	p.mu.Unlock()
	if stopping {
		relay.CloseNow(s.client.conn)
		s.leaveGates()
		p.serving.Done()
		return
	}
	p.run(s, (&arrival{s: s, conf: s.endpoint.conf, headed: headed}).open(ctx))
}

// run moves an open session until it is parked or ends; one that is not open ends.
func (p *Proxy) run(s *session, open bool) {
	if open && s.move() {
		return // parked
	}
	s.close()
	s.leaveGates() // before the end is reported: the reader of that line may connect again
	p.leave(s)
	s.report()
	p.serving.Done()
}

// Shutdown stops accepting connections, has every session deliver the responses to its
// requests in flight, and closes it. When ctx ends, or the configured drain timeout has
// passed, it closes the remaining sessions at once, and returns the number of those whose
// clients are owed responses. When it returns, no goroutine or socket of the Proxy is left. It
// may be called at any time and more than once: every call waits for the end, and can shorten
// the wait by its own ctx.
func (p *Proxy) Shutdown(ctx context.Context) (cut int) {
	if p.conf().ReusePort {
		return p.shutdown(ctx, p.drainBegun)
	}
	return p.shutdown(ctx, func(context.Context, <-chan struct{}) {})
}

// shutdown is Shutdown. first begins to drain: until it returns, sessions that have just been
// accepted begin.
func (p *Proxy) shutdown(ctx context.Context, first func(ctx context.Context, drained <-chan struct{})) (cut int) {
	p.living.Lock()
	p.life = closed
	p.living.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.conf().DrainTimeout)
	defer cancel()
	p.MarkNotReady()
	closeSockets(p.acceptors())
	p.waiters.Close()
	p.accepting.Wait()
	drained := make(chan struct{})
	go func() {
		p.serving.Wait()
		close(drained)
	}()
	first(ctx, drained)
	for _, s := range p.startDraining() {
		s.drain()
	}
	select {
	case <-drained:
	case <-ctx.Done():
		cut = cutAll(p.live(), DrainTimeout)
	}
	if p.stop != nil { // else it was never started
		p.stop()
	}
	<-drained
	p.removing.Wait()
	for _, c := range p.clusters() {
		c.end()
	}
	p.sweeping.Wait()
	p.parked.close()
	p.pipes.Close()
	p.repeats.report(true)
	p.admission.Lines.Wait()
	return cut
}

// startDraining refuses further sessions and returns those that there are.
func (p *Proxy) startDraining() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	return slices.Collect(maps.Keys(p.sessions))
}

func (p *Proxy) live() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.sessions))
}
