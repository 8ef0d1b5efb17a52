package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"kproxy/internal/cluster"
	"kproxy/internal/errlist"
	"kproxy/internal/sharedsocket"
	"kproxy/proxy/config"
)

// A reload has two steps. Prepare checks a configuration, reads its files and binds its sockets,
// beside the current one. Apply replaces the current one, and cannot fail.
//
//	Prepare ──▶ Change ──▶ Apply:   clients of each socket are led by the new configuration
//	   │          │                 listeners and clusters get theirs, in place
//	   │ error    └──▶ Discard      removed ones: sockets are closed, sessions drain
//	   ▼
//	nothing has changed
//
// A cluster, a listener and a socket keep their place as long as the configuration has one of
// that name, or address. So do their sessions, counts, limits and slots: a session looks at its
// listener's configuration for each request.

// Change is a configuration that Prepare has made ready. Exactly one of Apply and Discard ends
// it. Until then no other can be prepared.
type Change struct {
	p        *Proxy
	listen   listenFunc
	next     *served
	clusters []clusterChange
	entries  map[*acceptor]*entry // of all of next's sockets
	made     []*entry             // all that were made for it, also those that no socket needs
	bound    []*acceptor          // those of next's sockets that Prepare has bound
	freed    []*acceptor          // sockets that next does not have
}

// clusterChange is the next configuration of a cluster.
type clusterChange struct {
	*servedCluster

	isNew   bool
	plan    *config.ClusterPlan
	way     *cluster.Way // nil for a new one
	members []member
}

// Removal is a listener that a Change removes, by itself or with its cluster.
type Removal struct {
	Cluster, Listener string
	Sessions          int // that it has now
}

// ErrNotStarted is the error of Prepare before Start.
var ErrNotStarted = errors.New("proxy: Start was not called")

// Prepare checks conf, reads its files, and binds the addresses that are not bound yet. Nothing
// else changes before Apply. Logger, Observer and Dial stay those of New. Listen, if set, opens
// the sockets of this Change. While another Change is prepared, Prepare waits for its end. The error joins a [*config.Error] for each
// mistake. A key that cannot change while kproxy runs is one.
func (p *Proxy) Prepare(ctx context.Context, conf *Config) (*Change, error) {
	select {
	case <-p.changing:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := p.prepare(ctx, conf)
	if err != nil {
		p.changing <- struct{}{}
		return nil, err
	}
	return c, nil
}

func (p *Proxy) prepare(ctx context.Context, conf *Config) (*Change, error) {
	p.living.Lock()
	life := p.life
	p.living.Unlock()
	switch life {
	case made:
		return nil, ErrNotStarted
	case closed:
		return nil, ErrClosed
	default:
	}
	plan, err := conf.Compile()
	if err != nil {
		return nil, err
	}
	now := p.conf()
	c := &Change{p: p, listen: conf.Listen, next: &served{conf: *now}, entries: map[*acceptor]*entry{}}
	if c.listen == nil {
		c.listen = now.Listen
	}
	c.next.conf.Config = plan.Config
	if err := errlist.Join(now.unchangeable(&plan.Config), c.prepareClusters(plan)); err != nil {
		c.undo()
		return nil, err
	}
	if err := c.bind(ctx); err != nil {
		c.undo()
		return nil, err
	}
	return c, nil
}

// unchangeable returns an error for each key that differs in next and cannot change while the
// Proxy runs.
func (c *Config) unchangeable(next *config.Config) error {
	if c.StateDir != next.StateDir {
		return &config.Error{
			Key:     "state_dir",
			Problem: fmt.Sprintf("it cannot change from %q to %q while kproxy runs: the files there are in use", c.StateDir, next.StateDir),
			Fix:     "leave it as it is, or restart kproxy",
		}
	}
	return nil
}

// prepareClusters reads the files that the clusters and their listeners name.
func (c *Change) prepareClusters(plan *config.Plan) error {
	var errs []error
	for _, plan := range plan.Clusters {
		next := clusterChange{plan: plan}
		var err, other error
		if had := c.p.cluster(plan.Name); had == nil {
			next.isNew = true
			if err := c.p.stillDrains(plan); err != nil {
				errs = append(errs, err)
				continue
			}
			if next.servedCluster, err = newServedCluster(c.p, &c.next.conf, plan); err == nil {
				for _, l := range next.listeners() {
					next.members = append(next.members, member{l, l.conf()})
				}
			}
		} else {
			next.servedCluster = had
			next.way, err = next.Prepare(plan)
			next.members, other = next.prepareListeners(plan)
		}
		errs = append(errs, err, other)
		if next.servedCluster != nil {
			c.clusters = append(c.clusters, next)
			c.next.clusters = append(c.next.clusters, next.servedCluster)
		}
	}
	return errlist.Join(errs...)
}

// stillDrains returns an error if a cluster of this name was removed, and has its state file
// until its sessions have ended.
func (p *Proxy) stillDrains(plan *config.ClusterPlan) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conf().StateDir == "" || p.gone[plan.Name] == 0 {
		return nil
	}
	return &config.Error{
		Key: plan.Key, Problem: "it was removed, and its sessions have not ended yet",
		Fix: "reload again when they have, after drain.timeout at most",
	}
}

// bind opens the state files of new clusters, and the sockets that are not bound yet.
func (c *Change) bind(ctx context.Context) error {
	var members []member
	for _, next := range c.clusters {
		if next.isNew {
			if err := next.open(ctx, c.next.conf.StateDir); err != nil {
				return err
			}
		}
		members = append(members, next.members...)
	}
	c.freed = slices.Clone(c.p.acceptors())
	var missing []binding
	bindings := c.p.bindings(members)
	for _, b := range bindings {
		c.made = append(c.made, b.entry)
	}
	for _, b := range bindings {
		at := slices.IndexFunc(c.freed, func(d *acceptor) bool { return d.at == b.at })
		if at < 0 {
			missing = append(missing, b)
			continue
		}
		c.keep(c.freed[at], b)
		c.freed = slices.Delete(c.freed, at, at+1)
	}
	for _, b := range missing {
		d, err := c.p.listen(ctx, c.listen, b)
		if err != nil {
			return err
		}
		c.bound = append(c.bound, d)
		c.keep(d, b)
	}
	return nil
}

// keep takes a socket into the next configuration.
func (c *Change) keep(d *acceptor, b binding) {
	c.next.acceptors = append(c.next.acceptors, d)
	c.entries[d] = b.entry
	if had := d.entry.Load(); had != b.entry && had.leadsAs(b.entry) {
		c.entries[d] = had
	}
}

// Removed lists the listeners that the Change removes, in the order of the configuration.
func (c *Change) Removed() []Removal {
	var all []Removal
	for _, l := range c.removed() {
		all = append(all, Removal{l.cluster.name, l.name, len(c.p.sessionsOf(l))})
	}
	return all
}

// removed returns the listeners that next does not have.
func (c *Change) removed() []*listener {
	kept := map[*listener]bool{}
	for _, next := range c.clusters {
		for _, m := range next.members {
			kept[m.listener] = true
		}
	}
	var all []*listener
	for l := range c.p.listeners() {
		if !kept[l] {
			all = append(all, l)
		}
	}
	return all
}

// Freed returns a listening socket of an address, host:port, that Apply will close, for the
// caller to use after Apply; nil: the Change frees no such address. The caller closes it.
func (c *Change) Freed(address string) (net.Listener, error) {
	at := config.BoundForm(address)
	for _, d := range c.freed {
		if d.at == at && sharedsocket.CanDuplicate(d.socket) {
			return sharedsocket.Duplicate(d.socket)
		}
	}
	return nil, nil
}

// Discard closes what Prepare has opened. Nothing has changed.
func (c *Change) Discard() {
	c.undo()
	c.p.changing <- struct{}{}
}

func (c *Change) undo() {
	closeSockets(c.bound)
	for _, e := range c.made {
		c.dropGate(e)
	}
	for _, next := range c.clusters {
		next.discard(next.members, next.isNew)
		switch {
		case next.isNew:
			next.CloseState()
			next.Close()
		case next.way != nil:
			next.way.Release()
		}
	}
}

// dropGate removes the gate of an entry that is not in use, if it is the entry's own.
func (c *Change) dropGate(e *entry) {
	if e.shared && !slices.ContainsFunc(c.p.acceptors(), func(d *acceptor) bool { return d.entry.Load() == e }) {
		e.gate.Remove()
	}
}

// Apply makes the Change's configuration that of the Proxy. Removed listeners drain: their
// sockets are closed at once, and their sessions end as by Shutdown, within the drain timeout.
// After Shutdown, Apply is Discard.
func (c *Change) Apply() {
	p := c.p
	defer func() { p.changing <- struct{}{} }()
	p.living.Lock()
	defer p.living.Unlock()
	if p.life == closed {
		c.undo()
		return
	}
	removed := c.removed()
	gone := slices.DeleteFunc(slices.Clone(p.clusters()), func(had *servedCluster) bool { return slices.Contains(c.next.clusters, had) })
	closeSockets(c.freed)
	p.listing.Lock()
	p.switching.Lock()
	p.now.Store(c.next)
	c.lead()
	for _, next := range c.clusters {
		next.take(next.members)
	}
	p.switching.Unlock()
	for _, next := range c.clusters {
		next.apply(removed)
	}
	p.listing.Unlock()
	if p.accepts {
		p.accept(c.bound)
	}
	p.limitHandshakes(c.next.conf.MaxHandshakes)
	p.settle()
	p.watchFiles()
	p.remove(removed, gone)
}

// lead has each socket lead its clients by the new configuration.
func (c *Change) lead() {
	for d, e := range c.entries {
		if had := d.entry.Swap(e); had != e && had.shared {
			had.gate.Remove()
		}
	}
	for _, d := range c.freed {
		if e := d.entry.Load(); e.shared {
			e.gate.Remove()
		}
	}
}

// apply gives a cluster its configuration. removed are listeners that may still have sessions:
// until these have ended, the cluster's map keeps their slots.
func (next *clusterChange) apply(removed []*listener) {
	if next.isNew {
		next.start(next.proxy.lifetime())
		return
	}
	for _, l := range removed {
		if l.cluster == next.servedCluster {
			next.leaving = append(next.leaving, l)
		}
	}
	next.Reconfigure(next.way, next.plans())
}

// plans returns the configurations of the cluster's listeners, and of those that leave it. The
// caller holds Proxy.listing.
func (c *servedCluster) plans() []*config.ListenerPlan {
	var all []*config.ListenerPlan
	for _, l := range c.listeners() {
		all = append(all, l.conf().ListenerPlan)
	}
	for _, l := range c.leaving {
		if c.listener(l.name) == nil {
			all = append(all, l.conf().ListenerPlan)
		}
	}
	return all
}
