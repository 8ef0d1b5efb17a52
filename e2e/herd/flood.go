//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// flooders is how many connect and leave at one time.
const flooders = 8

// flood makes clients connect and leave as fast as they can, every second pair of them
// after a greeting. Each has an address of its own, because ports would run out.
func (st *stage) flood(ctx context.Context, to door, greeting []byte) error {
	flooding, stop := context.WithTimeout(ctx, st.Flood)
	defer stop()
	var connects, failures atomic.Int64
	var all sync.WaitGroup
	for i := range flooders {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		all.Go(func() {
			for flooding.Err() == nil {
				conn, err := dialer.DialContext(flooding, "tcp", to.Address)
				if err != nil {
					failures.Add(1)
					continue
				}
				connects.Add(1)
				if i/2%2 == 1 && greeting != nil {
					_, _ = conn.Write(greeting)
				}
				if i%2 == 0 {
					reset(conn)
				} else {
					_ = conn.Close()
				}
			}
		})
	}
	pause(ctx, st.Flood/4)
	err := st.atHeight(ctx, 0)
	all.Wait()
	if err != nil {
		return err
	}
	f, err := st.kproxy.settle(ctx, st.untouched())
	if err != nil {
		return err
	}
	st.out.Clients = int(connects.Load())
	st.note("%d connections, %.0f a second, and %d that did not come about", connects.Load(), float64(connects.Load())/st.Flood.Seconds(), failures.Load())
	if st.out.Clients < 100 {
		st.fail("only %d connections came about: that is no flood", connects.Load())
	}
	// The kernel may drop a connection that is reset before it is accepted, and complete
	// one that its client has abandoned.
	most := st.out.Clients + int(failures.Load())
	if got := total(f.Closed) - f.Closed["client_closed"]; got > most || got < st.out.Clients*9/10 {
		st.fail("%d sessions have ended, of %d connections", got, st.out.Clients)
	}
	return nil
}

// overflow connects n clients beyond the limit.
func (st *stage) overflow(ctx context.Context, n int) error {
	var err error
	if st.out.Height, err = st.kproxy.look(ctx); err != nil {
		return err
	}
	st.out.Clients = len(st.crowd.clients)
	var served, refused, lost atomic.Int64
	var group errgroup.Group
	group.SetLimit(200)
	for i := range n {
		group.Go(func() error {
			d := st.kproxy.tls
			if i%2 == 0 {
				d = st.kproxy.plain
			}
			conn, err := d.visit(ctx)
			switch {
			case err == nil:
				served.Add(1)
				reset(conn)
			case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
				refused.Add(1)
			default:
				st.say("refused by %v", err)
				lost.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait()
	if int(refused.Load()) != n {
		st.fail("of %d clients above the limit %d were served, and %d saw something else than a reset", n, served.Load(), lost.Load())
	}
	if err := st.crowd.askAgain(); err != nil {
		st.fail("those that were there: %v", err)
	}
	f, err := st.kproxy.settle(ctx, st.untouched()+len(st.crowd.clients))
	if err != nil {
		return err
	}
	st.closedAs(f, "too_many_connections", n)
	st.note("%d of %d were reset; those that were there were asked again, and all answered", refused.Load(), n)

	leaver := st.crowd.clients[0]
	st.crowd.clients = st.crowd.clients[1:]
	_ = leaver.conn.Close()
	if _, err := st.kproxy.settle(ctx, st.untouched()+len(st.crowd.clients)); err != nil {
		return err
	}
	if err := leaver.come(ctx); err != nil {
		st.fail("one has left, and another is not let in: %v", err)
		return nil
	}
	st.crowd.clients = append(st.crowd.clients, leaver)
	return nil
}
