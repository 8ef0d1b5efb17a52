package contract

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Producer sends records.
type Producer interface {
	// Send hands over one record and may wait for room. done is called once,
	// by any goroutine.
	Send(ctx context.Context, key, value []byte, done func(error))
	// Close waits until every record is done or ctx ends.
	Close(ctx context.Context) error
}

// load is one producer's records.
type load struct {
	o        *Options
	r        *Result
	producer Producer

	mu      sync.Mutex
	errored int
	first   error
}

func (c *Client) newLoad(ctx context.Context, o *Options, r *Result) (*load, error) {
	if c.NewProducer == nil {
		return nil, NotOffered("the library does not produce")
	}
	p, err := c.NewProducer(ctx, o)
	if err != nil {
		return nil, err
	}
	return &load{o: o, r: r, producer: p}, nil
}

func (l *load) send(ctx context.Context, n int) {
	l.r.Sent(1)
	l.producer.Send(ctx, Key(n), Value(l.o.Prefix, n, l.o.Size), func(err error) {
		if err == nil {
			l.r.Acked(1)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.errored++
		if l.first == nil {
			l.first = err
		}
	})
}

// failed is how many records were refused, and why the first was.
func (l *load) failed() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errored, l.first
}

func (c *Client) produce(ctx context.Context, o *Options, r *Result) error {
	l, err := c.newLoad(ctx, o, r)
	if err != nil {
		return err
	}
	pace := newPacer(o.Rate)
	for n := o.First; n < o.First+o.Count; n++ {
		if pace.wait(ctx) != nil {
			break
		}
		l.send(ctx, n)
	}
	err = l.producer.Close(ctx)
	if p, ok := l.producer.(interface{ Said() string }); ok && p.Said() != "" {
		r.Detail("error_callback", p.Said())
	}
	if n, first := l.failed(); first != nil {
		r.Detail("errored", n)
		return fmt.Errorf("%d records were refused: %w", n, first)
	}
	if sent, acked, _ := r.counts(); err == nil && acked < o.Count {
		err = fmt.Errorf("%d of %d records sent, %d acknowledged", sent, o.Count, acked)
	}
	return err
}

// tail sends for a while, whatever happens to the cluster. It reports refused records;
// they are not its own failure.
func (c *Client) tail(ctx context.Context, o *Options, r *Result) error {
	if o.Rate == 0 {
		o.Rate = 100
	}
	l, err := c.newLoad(ctx, o, r)
	if err != nil {
		return err
	}
	pace, end := newPacer(o.Rate), time.Now().Add(o.Duration)
	for n := 0; time.Now().Before(end); n++ {
		if err := pace.wait(ctx); err != nil {
			return err
		}
		l.send(ctx, n)
	}
	flush := time.Now()
	err = l.producer.Close(ctx)
	r.Detail("flush_ms", time.Since(flush).Milliseconds())
	n, first := l.failed()
	r.Detail("errored", n)
	if first != nil {
		r.Detail("first_error", first.Error())
	}
	if sent, acked, _ := r.counts(); err == nil && acked+n < sent {
		err = fmt.Errorf("%d records sent, of %d nothing was heard", sent, sent-acked-n)
	}
	return err
}

// session sends one record every 100 ms and reads them back in the same
// process, over logins that the broker wants renewed.
func (c *Client) session(ctx context.Context, o *Options, r *Result) error {
	if o.Rate == 0 {
		o.Rate = 10
	}
	l, err := c.newLoad(ctx, o, r)
	if err != nil {
		return err
	}
	g, err := c.newGroup(o, r)
	if err != nil {
		return err
	}
	g.join(ctx)
	pace, end := newPacer(o.Rate), time.Now().Add(o.Duration)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if pace.wait(ctx) == nil {
			l.send(ctx, n)
		}
	}
	err = l.producer.Close(ctx)
	n, first := l.failed()
	r.Detail("failures", n)
	if first != nil {
		err = errors.Join(err, fmt.Errorf("%d records were refused: %w", n, first))
	}
	_, acked, _ := r.counts()
	return errors.Join(err, g.waitFor(ctx, acked), g.leaveAll())
}

// pacer spaces calls evenly, and catches up when it is late.
type pacer struct {
	interval time.Duration
	next     time.Time
}

func newPacer(rate float64) *pacer {
	if rate == 0 {
		return &pacer{}
	}
	return &pacer{interval: time.Duration(float64(time.Second) / rate), next: time.Now()}
}

func (p *pacer) wait(ctx context.Context) error {
	if p.interval == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	p.next = p.next.Add(p.interval)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
