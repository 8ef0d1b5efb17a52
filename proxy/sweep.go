package proxy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/mark"
	"kproxy/internal/relay"
	"kproxy/proxy/config"
)

const (
	// maxSweepInterval is how often sessions are looked at, where no shorter
	// limit asks for more; minSweepInterval bounds the work that those make.
	maxSweepInterval = 5 * time.Second
	minSweepInterval = 10 * time.Millisecond
)

// sweep checks all sessions at intervals until ctx ends. Because of it, no frame needs a
// deadline and no session a timer: it compares two counters that a session has anyway.
func (p *Proxy) sweep(ctx context.Context) {
	tick := time.NewTicker(p.sweepInterval())
	defer tick.Stop()
	var copies copyReports
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.parked.free() // of those that the sweep before has had parked
			for _, s := range p.live() {
				s.sweep(time.Now()) // the tick's time can be from before a session's last byte
			}
			tick.Reset(p.sweepInterval()) // the configuration may have changed
			p.admission.Settle()
			p.repeats.report(false)
			copies.report(p.pipes, p.log)
		}
	}
}

// copyReports says why bytes are copied that could be spliced: each reason once.
type copyReports struct{ hidden, refused bool }

func (c *copyReports) report(pipes *relay.PipePool, log *slog.Logger) {
	if !c.hidden && pipes.Hidden() > 0 {
		c.hidden = true
		log.Warn("splice does not find the bytes of a connection, which is copied from now on",
			slog.String(logkey.Fix, "an eBPF program has the sockets of this machine (a sockmap, by an agent that observes or secures it); to splice, exclude kproxy there"))
	}
	if n, err := pipes.Refused(); !c.refused && n > 0 {
		c.refused = true
		log.Warn("the system refuses to splice a connection, which is copied from now on", slog.Any(logkey.Error, err),
			slog.String(logkey.Fix, "a sandbox may refuse it: to splice, allow pipe2 and splice in its seccomp filter"))
	}
}

// sweepInterval is a small part of the shortest limit.
func (p *Proxy) sweepInterval() time.Duration {
	interval := min(maxSweepInterval, p.lookInterval())
	for _, limit := range []time.Duration{p.conf().IdleTimeout, p.conf().MaxAge} {
		if limit > 0 {
			interval = min(interval, limit/4)
		}
	}
	if p.conf().ParkAfter > 0 {
		interval = min(interval, p.conf().ParkAfter/2)
	}
	return max(interval, minSweepInterval)
}

// watch is the state of a session at the last sweep. Only the sweep uses it.
type watch struct {
	moved int64     // bytes moved when it last looked
	quiet mark.Mark // since when there were no others, and nothing was owed

	looked         mark.Mark // at the TCP connections
	client, broker silence
	departure      departure // the client's
}

// sweep asks a session to end that is too old or idle, and ends one whose peer is
// gone.
func (s *session) sweep(now time.Time) {
	if !s.broker.isOpen() {
		s.sweepReaching(now)
		return // the first request and the dial have limits of their own
	}
	if moved := s.moved(); moved != s.watch.moved || s.queue.Owed() > 0 && !s.broker.renewal.logsIn() || s.watch.quiet == mark.Never {
		s.watch.moved, s.watch.quiet = moved, mark.Of(now)
	}
	looks, finishes := s.watch.looked == mark.Never || s.watch.looked.Age(now) >= s.proxy.lookInterval(), s.life.finishing.Load() != nil
	if looks {
		s.watch.looked = mark.Of(now)
		s.lookForPeers(now)
	}
	if looks || finishes {
		s.lookForDeparture(now)
	}
	conf := s.proxy.conf()
	switch {
	case finishes || s.life.ended() != nil || s.life.leaving() != nil:
	case s.expires != mark.Never && s.expires.Age(now) > 0:
		s.leave(askAge)
	case conf.IdleTimeout > 0 && s.watch.quiet.Age(now) >= conf.IdleTimeout:
		s.watch.quiet = mark.Of(now) // if it has just become busy, it is asked again after as long
		s.askIdle()
	case conf.ParkAfter > 0 && s.watch.quiet.Age(now) >= conf.ParkAfter:
		s.askPark()
	}
}

// moved returns how many bytes both directions have moved.
func (s *session) moved() int64 { return s.up.Moved() + s.down.Moved() }

// expiry returns when a session that opens now is too old; never, where max_age is off.
func expiry(c *config.Config, now time.Time) mark.Mark {
	if c.MaxAge <= 0 {
		return mark.Never
	}
	early := rand.Float64() * c.MaxAgeJitter * float64(c.MaxAge) //nolint:gosec // spreads load, keeps no secret
	return mark.Of(now.Add(c.MaxAge - time.Duration(early)))
}

// askIdle has the request pump end the session if nothing has moved, and no
// request has begun, by the time that it wakes. It alone knows.
func (s *session) askIdle() {
	s.life.askAt(askIdle, s.moved())
	s.wake()
}
