package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"kproxy/rewrite"
)

// Health is what decides whether a Proxy is ready for clients.
type Health struct {
	Bound    bool            // every endpoint of every listener listens
	Stopping bool            // Retire or Shutdown was called
	Clusters []ClusterHealth // in the order of the configuration
}

// ClusterHealth is what is known of a cluster from the proxy's own questions,
// from its sessions' first answers, and from dials on their behalf. An idle
// cluster is not asked unless Probe is called.
type ClusterHealth struct {
	Name       string
	Up         bool      // it has answered, and no attempt to reach it has failed since
	LastAnswer time.Time // zero: it has not answered since the start
	LastError  error     // of the last attempt that failed; nil: none has
	LastFailed time.Time // when that was
	Brokers    int       // nodes known
	Overflowed []Overflow
	// Hidden names the APIs that an answer of the cluster had to be rid of since
	// the start, by ascending key: its brokers no longer speak any version that
	// this build understands.
	Hidden []string
}

// Overflow is the nodes of one listener whose endpoints do not follow from the
// configuration: they are outside of its range and took free slots of it, in the
// order in which this proxy has heard of them. Its replicas may differ.
type Overflow struct {
	Listener string
	Nodes    []int32 // by ascending id; at least one
}

// Health returns the state that is known. It asks no broker.
func (p *Proxy) Health() Health {
	h := Health{Bound: p.bound.Load(), Stopping: p.retired.Load()}
	for _, c := range p.clusters {
		h.Clusters = append(h.Clusters, c.health())
	}
	return h
}

// Retire makes Health say that the proxy is about to stop, so that a load balancer
// in front of several proxies sends clients elsewhere. Clients that come are
// served, until Shutdown.
func (p *Proxy) Retire() { p.retired.Store(true) }

// Probe asks a cluster whether it answers, with one ApiVersions request on a
// connection of its own, unless it has been asked less than 10 seconds ago. It
// returns when the answer is part of Health, or when ctx ends.
func (p *Proxy) Probe(ctx context.Context, cluster string) {
	for _, c := range p.clusters {
		if c.conf.Name != cluster {
			continue
		}
		select {
		case <-p.probe(c):
		case <-ctx.Done():
		}
	}
}

// probe asks c in a goroutine of the Proxy's own, for as long as that takes: a
// prober in a hurry must not make the question fail. done is closed when Health
// has the outcome.
func (p *Proxy) probe(c *cluster) (done chan struct{}) {
	done = make(chan struct{})
	if !p.background(func(ctx context.Context) {
		defer close(done)
		_ = c.askSparingly(ctx) // Health has the error
	}) {
		close(done)
	}
	return done
}

// background runs f in a goroutine that Shutdown waits for, until ctx ends. It
// reports whether it does: not before Start, and not while the proxy stops.
func (p *Proxy) background(f func(ctx context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil || p.draining {
		return false
	}
	ctx := p.running
	p.asking.Go(func() { f(ctx) })
	return true
}

// pulse is when a cluster last answered, and when it last did not.
type pulse struct {
	mu         sync.Mutex // guards the following
	lastAnswer time.Time
	lastFailed time.Time
	lastError  error
}

// answered notes a sign of life.
func (p *pulse) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastAnswer = time.Now()
}

// failed notes that no broker of the cluster could be reached, or none answered.
func (p *pulse) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastFailed, p.lastError = time.Now(), err
}

func (c *cluster) health() ClusterHealth {
	shown := c.shown.Load()
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	return ClusterHealth{
		Name:       c.conf.Name,
		Up:         !c.pulse.lastAnswer.IsZero() && !c.pulse.lastFailed.After(c.pulse.lastAnswer),
		LastAnswer: c.pulse.lastAnswer,
		LastError:  c.pulse.lastError,
		LastFailed: c.pulse.lastFailed,
		Brokers:    shown.brokers,
		Overflowed: shown.overflowed,
		Hidden:     c.hidden(),
	}
}

// hidden names the parsed APIs that were left out of an ApiVersions answer.
func (c *cluster) hidden() []string {
	var names []string
	for _, api := range rewrite.Supported() {
		if slices.ContainsFunc(c.listeners, func(l *listener) bool { return l.counters.hides(api.Key) }) {
			names = append(names, api.Name)
		}
	}
	return names
}
