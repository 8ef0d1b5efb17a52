package cluster

import (
	"context"
	"errors"
	"log/slog"
	"reflect"

	"kproxy/internal/endpoints"
	"kproxy/internal/logkey"
	"kproxy/internal/wait"
	"kproxy/proxy/config"
)

// Prepare reads the files that another configuration of the cluster names, and returns the Way
// by it: the current one, if it leads to the brokers as that does. Nothing changes until
// Reconfigure; Way.Release is the other way out. The error joins all mistakes.
func (c *Cluster) Prepare(conf *config.ClusterPlan) (*Way, error) {
	now := c.use()
	if now.isBy(conf) {
		return now, nil
	}
	defer now.Release()
	return c.newWay(conf, now)
}

// Reconfigure makes w the current Way, and listeners those of the map, which keeps its nodes
// and, as far as the listeners allow it, their slots. If the Way has changed, the brokers are
// asked for their addresses again.
func (c *Cluster) Reconfigure(w *Way, listeners []*config.ListenerPlan) {
	before := c.way.Swap(w)
	c.Relist(listeners)
	if !before.LeadsAs(w) {
		c.forgetResponses()
		c.Background(c.askAgain)
	}
	before.Release()
}

// forgetResponses forgets what responses by the Way before have shown of the brokers, but for their addresses: by the
// new one, other brokers may respond.
func (c *Cluster) forgetResponses() {
	c.mu.Lock()
	c.confirmed = false
	clear(c.identity.said)
	c.identity.poll = nil
	c.mu.Unlock()
	c.show()
	c.mover.needsLogin(false)
	c.versions.forget()
}

// Relist makes listeners those of the map.
func (c *Cluster) Relist(listeners []*config.ListenerPlan) {
	clashes := c.clashesAmong(c.Nodes())
	c.mu.Lock()
	c.brokers.Relayout(layoutsOf(listeners), c.Way().conf.ForgetAfter)
	c.listeners = listeners
	clear(c.clashing)
	for _, b := range clashes {
		c.clashing[b.Node] = b
	}
	c.mu.Unlock()
	c.show()
	select {
	case c.changed <- struct{}{}:
	default: // a write is due already
	}
	c.Strayed()
}

// LeadsAs reports whether two Ways differ in nothing that leads to a broker.
func (w *Way) LeadsAs(other *Way) bool { return w == other || w.isBy(other.conf) }

// isBy reports whether conf differs in nothing that leads to a broker.
func (w *Way) isBy(conf *config.ClusterPlan) bool {
	a, b := *w.conf.Cluster, *conf.Cluster
	a.Listeners, b.Listeners = nil, nil
	return reflect.DeepEqual(a, b)
}

// askAgain asks any broker for all brokers.
func (c *Cluster) askAgain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	to, err := c.DialAny(ctx, Client{})
	if err == nil {
		defer to.Close()
		defer wait.Bound(ctx, to.Conn)()
		err = c.askMetadata(ctx, to)
	}
	switch {
	case err == nil, errors.Is(err, errOutvoted):
		c.contact.answered()
	case errors.Is(err, ErrNeedsLogin): // the next client's response teaches the map
	case !errors.Is(ctx.Err(), context.Canceled):
		c.log.Warn("no broker has responded by the new configuration", slog.Any(logkey.Error, err))
	}
}

// layoutsOf returns the slots of listeners as package endpoints takes them.
func layoutsOf(listeners []*config.ListenerPlan) []endpoints.Layout {
	layouts := make([]endpoints.Layout, len(listeners))
	for i, l := range listeners {
		layouts[i] = l.Layout()
	}
	return layouts
}
