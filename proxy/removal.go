package proxy

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/wait"
)

// remove drains listeners, and clusters, that the configuration does not have any more.
func (p *Proxy) remove(removed []*listener, gone []*servedCluster) {
	p.mu.Lock()
	for _, l := range removed {
		l.removed = true // those that come now drain as they enter
	}
	for _, c := range gone {
		p.gone[c.name]++
	}
	p.mu.Unlock()
	timeout := p.conf().DrainTimeout
	draining := slices.Clone(removed)
	p.listing.Lock()
	for _, c := range gone { // removed before, and not empty yet
		draining = append(draining, c.leaving...)
	}
	p.listing.Unlock()
	p.removing.Go(func() {
		p.drain(draining, timeout)
		for _, l := range removed {
			l.gate.Remove()
			c := l.cluster
			p.listing.Lock()
			c.leaving = slices.DeleteFunc(c.leaving, func(other *listener) bool { return other == l })
			if !slices.Contains(gone, c) {
				c.Relist(c.plans())
			}
			p.listing.Unlock()
		}
		for _, c := range gone {
			c.end()
			p.mu.Lock()
			p.gone[c.name]--
			p.mu.Unlock()
		}
	})
}

// drainLook is how often drain looks whether sessions have ended.
const drainLook = 50 * time.Millisecond

// drain ends the sessions of listeners, once the responses to their requests in flight are
// delivered, and cuts those that are left after the timeout.
func (p *Proxy) drain(listeners []*listener, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	left := func() []*session { return p.sessionsOf(listeners...) }
	for _, s := range left() {
		s.drain()
	}
	for len(left()) > 0 {
		if wait.Sleep(ctx, drainLook); ctx.Err() == nil {
			continue
		}
		if owed := cutAll(left(), DrainTimeout); owed > 0 {
			p.log.Warn("sessions of removed listeners were cut: they were still owed responses",
				slog.Int(logkey.Sessions, owed), slog.String(logkey.Fix, "raise drain.timeout if clients need longer"))
		}
		for len(left()) > 0 {
			wait.Sleep(context.Background(), drainLook)
		}
	}
}

// sessionsOf returns the sessions of listeners.
func (p *Proxy) sessionsOf(listeners ...*listener) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*session
	for s := range p.sessions {
		if s.counted && slices.Contains(listeners, s.endpoint.listener) {
			all = append(all, s)
		}
	}
	return all
}
