//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// How long a client waits before it tries again: Kafka's reconnect.backoff.ms,
// doubled each time to its reconnect.backoff.max.ms, a fifth of it by chance.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// allServed is how long a crowd may take to connect. After that it counts as lost.
const allServed = 2 * time.Minute

// crowd is clients that have asked once, and are idle.
type crowd struct{ clients []*client }

type client struct {
	door door
	conn net.Conn
}

// newCrowd makes n clients of an address. Those that resume keep their tickets.
func newCrowd(d door, n int, resume bool) *crowd {
	c := &crowd{}
	for range n {
		own := d
		if resume {
			own.TLS = d.TLS.Clone()
			own.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		c.clients = append(c.clients, &client{door: own})
	}
	return c
}

// arrival is how a crowd has come.
type arrival struct {
	Median, Whole time.Duration // until half of them, and all of them, had a response
	Again         int           // tries that failed
	Resumed       int
}

// come connects all clients at once, each until it has a response. Times count from
// since.
func (c *crowd) come(ctx context.Context, since time.Time) (a arrival, err error) {
	ctx, cancel := context.WithTimeout(ctx, allServed)
	defer cancel()
	took := make([]time.Duration, len(c.clients))
	failed := make([]error, len(c.clients))
	var again, resumed atomic.Int64
	var all sync.WaitGroup
	for i, client := range c.clients {
		all.Go(func() {
			wait := minBackoff
			for failed[i] = client.come(ctx); failed[i] != nil && ctx.Err() == nil; failed[i] = client.come(ctx) {
				again.Add(1)
				pause(ctx, wait*4/5+rand.N(wait*2/5))
				wait = min(2*wait, maxBackoff)
			}
			took[i] = time.Since(since)
			if secure, ok := client.conn.(*tls.Conn); ok && secure.ConnectionState().DidResume {
				resumed.Add(1)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	a = arrival{took[len(took)/2], took[len(took)-1], int(again.Load()), int(resumed.Load())}
	return a, first(failed, "were not served")
}

func (c *client) come(ctx context.Context) (err error) {
	c.conn, err = c.door.visit(ctx)
	return err
}

// first is the first of the clients' errors.
func first(failed []error, what string) error {
	all := slices.DeleteFunc(slices.Clone(failed), func(err error) bool { return err == nil })
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d clients %s: %w", len(all), len(failed), what, all[0])
}

// cut cuts all clients off at once, as a network failure does.
func (c *crowd) cut() {
	for _, client := range c.clients {
		reset(client.conn)
	}
}

// leave closes all clients in order.
func (c *crowd) leave() {
	for _, client := range c.clients {
		_ = client.conn.Close()
	}
}

// askAgain has each client ask once more.
func (c *crowd) askAgain() error {
	failed := make([]error, len(c.clients))
	var all sync.WaitGroup
	for i, client := range c.clients {
		all.Go(func() { failed[i] = ask(client.conn, bytes.Clone(askVersions), 2) })
	}
	all.Wait()
	return first(failed, "had no second response")
}

// gather has a crowd come, and stay.
func (st *stage) gather(ctx context.Context, n int, resume bool) error {
	st.crowd, st.out.Clients = newCrowd(st.kproxy.tls, n, resume), n
	if _, err := st.crowd.come(ctx, time.Now()); err != nil {
		return err
	}
	_, err := st.kproxy.settle(ctx, n+st.untouched())
	return err
}

// comeBack cuts the crowd off and reconnects it, several times.
func (st *stage) comeBack(ctx context.Context, kill bool) (err error) {
	for range st.Rounds {
		began := time.Now()
		var restart sync.WaitGroup
		var restarted error
		if kill {
			st.kproxy.proc.Kill()
			restart.Go(func() { restarted = st.kproxy.start(ctx) })
		}
		st.crowd.cut()
		err := st.arrive(ctx, st.crowd, began)
		restart.Wait()
		if restarted != nil {
			return restarted
		}
		if err != nil {
			st.fail("%v", err)
			return nil
		}
		if st.out.Height, err = st.kproxy.settle(ctx, st.Herd+st.untouched()); err != nil {
			return err
		}
	}
	if err := st.crowd.askAgain(); err != nil {
		st.fail("after the last return: %v", err)
	}
	if !kill {
		st.closedAs(st.out.Height, "client_reset", st.Rounds*st.Herd+st.again())
	}
	return nil
}

// again is how many tries have failed.
func (st *stage) again() (n int) {
	for _, a := range st.out.Arrivals {
		n += a.Again
	}
	return n
}

// arrive connects a crowd, and keeps the times.
func (st *stage) arrive(ctx context.Context, c *crowd, since time.Time) error {
	a, err := c.come(ctx, since)
	st.out.Arrivals = append(st.out.Arrivals, a)
	if want := map[bool]int{true: len(c.clients)}[st.Resumes]; a.Resumed != want {
		st.fail("%d sessions were resumed, want %d", a.Resumed, want)
	}
	return err
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
