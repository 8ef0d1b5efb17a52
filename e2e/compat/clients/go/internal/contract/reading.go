package contract

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// surplus is how long a consumer waits for records that should not come.
const surplus = time.Second

// joinPause is how long churn leaves a member in the group before the next
// one goes: a rebalance is to end before another begins.
const joinPause = 500 * time.Millisecond

// group is the members of one group, in one process.
type group struct {
	client  *Client
	o       *Options
	r       *Result
	members []*member
	arrived chan int   // how many distinct records there are
	broken  chan error // a member that ended by itself
	rejoins int
}

type member struct {
	instance string
	leave    context.CancelFunc
	left     chan error
}

func (c *Client) newGroup(o *Options, r *Result) (*group, error) {
	if c.Consume == nil {
		return nil, NotOffered("the library does not consume")
	}
	return &group{client: c, o: o, r: r, arrived: make(chan int, 1), broken: make(chan error, 64)}, nil
}

func (g *group) join(ctx context.Context) {
	instance := ""
	if g.o.StaticMember != "" {
		instance = fmt.Sprintf("%s-%d", g.o.StaticMember, len(g.members))
	}
	g.members = append(g.members, g.start(ctx, instance))
}

func (g *group) start(ctx context.Context, instance string) *member {
	ctx, cancel := context.WithCancel(ctx)
	m := &member{instance: instance, leave: cancel, left: make(chan error, 1)}
	go g.runMember(ctx, m)
	return m
}

// runMember ends when its member leaves.
func (g *group) runMember(ctx context.Context, m *member) {
	err := g.client.Consume(ctx, g.o, m.instance, func(value []byte) {
		n := g.r.Read(g.o.Prefix, value)
		select {
		case <-g.arrived: // only the newest count is of interest
		default:
		}
		select {
		case g.arrived <- n:
		default:
		}
	})
	m.left <- err
	if ctx.Err() == nil {
		if err == nil {
			err = errors.New("it ended by itself")
		}
		g.broken <- err
	}
}

// waitFor returns when count different records have been read.
func (g *group) waitFor(ctx context.Context, count int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _, distinct := g.r.counts()
		if distinct >= count {
			return nil
		}
		select {
		case <-g.arrived:
		case <-tick.C:
		case err := <-g.broken:
			return fmt.Errorf("a member: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records read: %w", distinct, count, context.Cause(ctx))
		}
	}
}

// replace lets a member leave and another join.
func (g *group) replace(ctx context.Context, i int) error {
	m := g.members[i]
	m.leave()
	if err := m.wait(); err != nil {
		return fmt.Errorf("a member that leaves: %w", err)
	}
	g.members[i] = g.start(ctx, m.instance)
	g.rejoins++
	return sleep(ctx, joinPause)
}

// leaveAll ends every member, one after the other.
func (g *group) leaveAll() error {
	var errs []error
	for _, m := range g.members {
		m.leave()
		errs = append(errs, m.wait())
	}
	return errors.Join(errs...)
}

// wait is for a member that was asked to leave. The deadline is of the program.
func (m *member) wait() error { return <-m.left }

func (c *Client) consume(ctx context.Context, o *Options, r *Result) error {
	g, err := c.newGroup(o, r)
	if err != nil {
		return err
	}
	for range max(1, o.Members) {
		g.join(ctx)
	}
	if o.Churn {
		err = g.churn(ctx)
	} else {
		err = g.waitFor(ctx, o.Count)
	}
	if err == nil {
		err = sleep(ctx, surplus)
	}
	r.Detail("rejoins", g.rejoins)
	if left := g.leaveAll(); err == nil {
		err = left
	}
	return err
}

// churn replaces each member once, spread over the records.
func (g *group) churn(ctx context.Context) error {
	for i := range g.members {
		if err := g.waitFor(ctx, g.o.Count*(i+1)/(len(g.members)+1)); err != nil {
			return err
		}
		if err := g.replace(ctx, i); err != nil {
			return err
		}
	}
	return g.waitFor(ctx, g.o.Count)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
