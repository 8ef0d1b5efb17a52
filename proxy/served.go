package proxy

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"kproxy/internal/admission"
	"kproxy/internal/cluster"
	"kproxy/internal/errlist"
	"kproxy/internal/logkey"
	"kproxy/internal/logline"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// servedCluster is a cluster and the listeners that lead to it. It stays while the
// configuration has a cluster of its name.
type servedCluster struct {
	*cluster.Cluster

	name string
	log  *slog.Logger

	proxy       *Proxy
	current     atomic.Pointer[[]*listener]
	answerLines logline.Pacer // of what responses lost

	tasks   sync.WaitGroup     // questions to the brokers, and the state file
	running context.Context    // of tasks; nil: they have not begun. Guarded by Proxy.mu
	stop    context.CancelFunc // ends running
	ending  bool               // no task begins any more; guarded by Proxy.mu
	leaving []*listener        // those that are removed, and have sessions; guarded by Proxy.listing
}

// newServedCluster reads the files that a cluster and its listeners name. Its error joins
// all mistakes.
func newServedCluster(p *Proxy, of *Config, conf *config.ClusterPlan) (*servedCluster, error) {
	c := &servedCluster{proxy: p, name: conf.Name, log: p.log.With(slog.String(logkey.Cluster, conf.Name))}
	c.current.Store(&[]*listener{})
	var errs []error
	var err error
	c.Cluster, err = cluster.New(conf, c.log, cluster.Options{
		Own:        p.isOwn,
		Dial:       of.Dial,
		Dialed:     func(node int32, address string, err error) { of.Observer.dialed(conf.Name, node, address, err) },
		Background: c.background,
		Strayed:    c.drainStrays,
	})
	errs = append(errs, err)
	members, err := c.prepareListeners(conf)
	errs = append(errs, err)
	if err := errlist.Join(errs...); err != nil {
		c.discard(members, true)
		if c.Cluster != nil {
			c.Close()
		}
		return nil, err
	}
	c.take(members)
	return c, nil
}

// prepareListeners reads the files that the listeners of a configuration name. Those of a name
// that the cluster has are its own. The error joins all mistakes.
func (c *servedCluster) prepareListeners(conf *config.ClusterPlan) (members []member, err error) {
	var errs []error
	for _, plan := range conf.Listeners {
		l := c.listener(plan.Name)
		if l == nil {
			l = newListener(c, plan)
		}
		next, err := l.prepare(plan, conf.UnknownAPIs)
		errs = append(errs, err)
		members = append(members, member{l, next})
	}
	return members, errlist.Join(errs...)
}

// discard undoes prepareListeners. all says that the cluster is new, with all its listeners.
func (c *servedCluster) discard(members []member, all bool) {
	for _, m := range members {
		if all || m.listener.conf() == nil {
			m.listener.gate.Remove()
		}
	}
}

// take makes members the listeners of the cluster.
func (c *servedCluster) take(members []member) {
	all := make([]*listener, len(members))
	for i, m := range members {
		all[i] = m.listener
		m.listener.current.Store(m.conf)
		m.listener.gate.Reconfigure(m.conf.Networks, m.conf.Balancers, admission.Limits(m.conf.Limits))
	}
	c.current.Store(&all)
}

// listeners returns the listeners in the order of the configuration.
func (c *servedCluster) listeners() []*listener { return *c.current.Load() }

// listener returns the listener of a name; nil: there is none.
func (c *servedCluster) listener(name string) *listener {
	for _, l := range c.listeners() {
		if l.name == name {
			return l
		}
	}
	return nil
}

// open locks and reads the state file, if there is to be one.
func (c *servedCluster) open(ctx context.Context, stateDir string) error {
	if stateDir == "" {
		return nil
	}
	return c.Restore(ctx, stateDir)
}

// start begins the cluster's tasks, which end with ctx.
func (c *servedCluster) start(ctx context.Context) {
	c.proxy.mu.Lock()
	c.running, c.stop = context.WithCancel(ctx)
	running := c.running
	c.proxy.mu.Unlock()
	c.tasks.Go(func() { c.AskWhileDown(running) })
	c.tasks.Go(func() { c.KeepState(running) })
}

// background runs f in a goroutine that end waits for, until its context ends. It
// reports whether it does: not before start, and not while the proxy or the cluster stops.
func (c *servedCluster) background(f func(ctx context.Context)) bool {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	if c.running == nil || c.ending || c.proxy.draining {
		return false
	}
	ctx := c.running
	c.tasks.Go(func() { f(ctx) })
	return true
}

// end ends the tasks of a cluster that has no session left, and closes its parts.
func (c *servedCluster) end() {
	c.proxy.mu.Lock()
	c.ending = true
	stop := c.stop
	c.proxy.mu.Unlock()
	if stop != nil { // else it was never started
		stop()
	}
	c.tasks.Wait()
	c.Close()
}

// clusterHealth returns the cluster's part of Health.
func (c *servedCluster) clusterHealth() ClusterHealth {
	s := c.Status()
	return ClusterHealth{
		Name:       c.name,
		Up:         s.Up,
		LastAnswer: s.LastAnswer,
		LastError:  s.LastError,
		LastFailed: s.LastFailed,
		Brokers:    s.Brokers,
		Overflowed: s.Overflowed,
		Unmapped:   s.Unmapped,
		Strangers:  s.Strangers,
		Stale:      c.stale(),
		Hidden:     c.hidden(),
	}
}

// stats returns the cluster's part of a Snapshot, without its listeners.
func (c *servedCluster) stats() ClusterStats {
	s := c.Status()
	return ClusterStats{
		Name:       c.name,
		Up:         s.Up,
		LastAnswer: s.LastAnswer,
		Brokers:    s.Brokers,
		Dials:      c.DialCounts(),
		MapChanges: c.ChangeCounts(),
	}
}

// hidden names the parsed APIs that were left out of an ApiVersions response.
func (c *servedCluster) hidden() []string {
	var names []string
	for _, api := range rewrite.Supported() {
		if slices.ContainsFunc(c.listeners(), func(l *listener) bool { return l.counters.hides(api.Key) }) {
			names = append(names, api.Name)
		}
	}
	return names
}
