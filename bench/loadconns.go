//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kproxy/internal/wire"
)

// startChurn opens a connection for each request. With a pinned rate the clients
// share a schedule, and a latency includes the connecting.
func (l *load) startChurn(ctx context.Context, group *errgroup.Group) {
	clients := l.job.Work.Conns
	turns := make([]chan struct{}, clients)
	var s schedule
	if l.job.Rate > 0 {
		s = schedule{start: time.Now(), every: time.Duration(float64(time.Second) / l.job.Rate), conns: clients}
		for i := range turns {
			turns[i] = make(chan struct{}, mostDue)
		}
		group.Go(func() error { return s.tick(ctx, turns) })
	}
	for i := range clients {
		group.Go(func() error { return l.churn(ctx, s, i, turns[i]) })
	}
}

func (l *load) churn(ctx context.Context, s schedule, client int, turns <-chan struct{}) error {
	for i := 0; ; i++ {
		due := time.Now()
		if turns != nil {
			select {
			case <-turns:
				due = s.due(client, i)
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.connectAndAsk(ctx, due); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
}

func (l *load) connectAndAsk(ctx context.Context, due time.Time) error {
	c, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if err := c.send(); err != nil {
		return err
	}
	n, err := c.receive()
	if err == nil {
		l.responded(n+len(c.frame), time.Since(due))
	}
	return err
}

// openIdle opens the workload's connections, and leaves them alone.
func (l *load) openIdle(ctx context.Context) error {
	conns, err := l.open(ctx, l.job.Work.Conns)
	if err != nil {
		return err
	}
	for _, c := range conns {
		if err := c.askOnce(); err != nil {
			return err
		}
		c.in = nil // it is not read again
	}
	return nil
}

// openStalled opens connections that ask for much and read nothing.
func (l *load) openStalled(ctx context.Context) error {
	other := &load{job: l.job, tls: l.tls, deadline: l.deadline}
	other.job.Work.Bytes = stalledBytes
	conns, err := other.open(ctx, l.job.Work.Others)
	if err != nil {
		return err
	}
	for _, c := range conns {
		if err := c.send(); err != nil {
			return err
		}
		// Its response has begun. The rest is not read.
		if _, err := c.conn.Read(make([]byte, wire.ResponsePrefixLen)); err != nil {
			return err
		}
	}
	return nil
}
