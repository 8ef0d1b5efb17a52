//go:build linux

package main

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// schedule says when each request is due: the n-th of all at start + n/rate, on
// connection n mod conns. A latency counts from there, not from the actual sending: a
// request that waits behind a slow response counts as late (no coordinated omission).
type schedule struct {
	start time.Time
	every time.Duration
	conns int
}

// due is when the i-th request of a connection is to be sent.
func (s schedule) due(conn, i int) time.Time {
	return s.start.Add(time.Duration(i*s.conns+conn) * s.every)
}

// mostDue is how many requests of a connection may be due and not yet sent. Beyond it the
// clock waits too, and the reported rate is lower than the requested one.
const mostDue = 1 << 14

// startPinned sends at a fixed rate on all connections together.
func (l *load) startPinned(ctx context.Context, group *errgroup.Group, conns []*loadConn) {
	s := schedule{
		start: time.Now().Add(10 * time.Millisecond),
		every: time.Duration(float64(time.Second) / l.job.Rate), conns: len(conns),
	}
	turns := make([]chan struct{}, len(conns))
	for i, c := range conns {
		turns[i] = make(chan struct{}, mostDue)
		group.Go(func() error { return c.sendInTurn(ctx, turns[i]) })
		group.Go(func() error { return c.receiveDue(ctx, s, i) })
	}
	group.Go(func() error { return s.tick(ctx, turns) })
}

// tick gives each connection its turns. It has a thread of its own, which sleeps in the
// kernel: a timer of Go's is up to a millisecond late if nothing else wakes its thread,
// and the delay would count as the target's.
func (s schedule) tick(ctx context.Context, turns []chan struct{}) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const slack = 1 // nanoseconds, instead of the 50 microseconds that Linux adds
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0)
	for n := 0; ; n++ {
		if left := time.Until(s.start.Add(time.Duration(n) * s.every)); left > 0 {
			pause := unix.NsecToTimespec(int64(left))
			_ = unix.Nanosleep(&pause, nil) // woken early, it is a little early
		}
		select {
		case turns[n%len(turns)] <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *loadConn) sendInTurn(ctx context.Context, turns <-chan struct{}) error {
	for {
		select {
		case <-turns:
			if err := c.send(); err != nil {
				return c.fail(ctx, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *loadConn) receiveDue(ctx context.Context, s schedule, conn int) error {
	for i := 0; ; i++ {
		n, err := c.receive()
		if err != nil {
			return c.fail(ctx, err)
		}
		c.load.responded(n+len(c.frame), time.Since(s.due(conn, i)))
	}
}
