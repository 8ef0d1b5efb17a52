package proxy

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"time"
)

// A hand-over leads the clients of a Proxy to that of another process, which gets its sockets:
//
//	this process                       the other one
//	Sockets, by their addresses  ──▶   Config.Listen
//	NextIDsAbove                 ──▶   Config.IDsAbove
//	                                   Open: binds the rest, and calls Config.BeforeState
//	ReleaseState                 ──▶   reads the state files, and asks the brokers
//	                             ◀──   Accept
//	HandOver: the sessions end
//
// Until HandOver this Proxy serves, and RetakeState undoes everything.

// Socket is a listening socket of a Proxy.
type Socket struct {
	Address  string // host:port in the form of config.BoundForm
	Listener net.Listener
}

// Sockets returns the listening sockets of a Proxy that is open. They stay the Proxy's: the caller
// duplicates them.
func (p *Proxy) Sockets() []Socket {
	var all []Socket
	for _, d := range p.acceptors() {
		all = append(all, Socket{d.at, d.socket})
	}
	return all
}

// Sessions returns the number of open connections of clients.
func (p *Proxy) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// idsApart is the distance between the ids of connections of two processes, at least: more than one
// accepts in the time that the other needs to become ready.
const idsApart = 1_000_000

// NextIDsAbove is Config.IDsAbove for a process that takes over.
func (p *Proxy) NextIDsAbove() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.youngest/idsApart + 2) * idsApart
}

// ReleaseState writes the state files, and unlocks them for another process. Until RetakeState
// nothing is written there. On an error none is released.
func (p *Proxy) ReleaseState() error {
	for i, c := range p.clusters() {
		if err := c.ReleaseState(); err != nil {
			for _, other := range p.clusters()[:i] {
				err = errors.Join(err, other.RetakeState())
			}
			return err
		}
	}
	return nil
}

// RetakeState undoes ReleaseState.
func (p *Proxy) RetakeState() error {
	var errs []error
	for _, c := range p.clusters() {
		errs = append(errs, c.RetakeState())
	}
	return errors.Join(errs...)
}

// restOfDrain is the part of the drain timeout in which the last sessions get their responses: one
// in so many.
const restOfDrain = 5

// HandOver is Shutdown for a Proxy whose sockets another process serves. The sessions do not end all
// at once, because their clients come back to the other process at once: they end one after the
// other, spread evenly over the drain timeout, and those that have been silent longest come first.
// Those that have had no response yet come last: clients take an end before the first response for a
// refused login. hurry, when it is closed, has all others end.
func (p *Proxy) HandOver(ctx context.Context, hurry <-chan struct{}) (cut int) {
	return p.shutdown(ctx, func(ctx context.Context, drained <-chan struct{}) {
		deadline, _ := ctx.Deadline() // shutdown has set one
		left := time.Until(deadline)
		p.drainEvenly(ctx, left-left/restOfDrain, drained, hurry)
	})
}

// arrivalGrace is how long sessions that have had no response may take to get one, if other processes serve
// at the same addresses.
const arrivalGrace = time.Second

// drainBegun has the sessions end that have had a response, and waits for the first response of the
// others, for arrivalGrace at most. With Config.ReusePort, clients connect to this process until its sockets
// are closed, and other processes serve those that come after.
func (p *Proxy) drainBegun(ctx context.Context, drained <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, arrivalGrace)
	defer cancel()
	for ctx.Err() == nil {
		waiting := false
		for _, s := range p.live() {
			if s.down.Moved() > 0 {
				s.drain()
			} else {
				waiting = true
			}
		}
		if !waiting {
			return
		}
		select {
		case <-drained:
			return
		case <-ctx.Done():
		case <-time.After(drainLook):
		}
	}
}

// drainEvenly asks the sessions to end, one after the other, within a time, but for those that have
// had no response. It returns at the end of the time, when all have ended, or when hurry is closed or
// ctx ends.
func (p *Proxy) drainEvenly(ctx context.Context, within time.Duration, drained, hurry <-chan struct{}) {
	start, all := time.Now(), p.bySilence()
	timer := time.NewTimer(0)
	defer timer.Stop()
	waitFor := func(d time.Duration) (on bool) {
		timer.Reset(time.Until(start.Add(d)))
		select {
		case <-timer.C:
			return true
		case <-drained:
		case <-hurry:
		case <-ctx.Done():
		}
		return false
	}
	for i, s := range all {
		if !waitFor(within * time.Duration(i+1) / time.Duration(len(all))) {
			return
		}
		if s.down.Moved() > 0 {
			s.drain()
		}
	}
	waitFor(within) // also if there was no session: one that has just been accepted may be about to begin
}

// bySilence returns the sessions, those that have been silent longest first.
func (p *Proxy) bySilence() []*session {
	type silent struct {
		*session

		last int64 // a mark
	}
	var all []silent
	for _, s := range p.live() {
		all = append(all, silent{s, max(s.up.Active.Load(), s.down.Active.Load())})
	}
	slices.SortFunc(all, func(a, b silent) int { return cmp.Compare(a.last, b.last) })
	sessions := make([]*session, len(all))
	for i, s := range all {
		sessions[i] = s.session
	}
	return sessions
}
