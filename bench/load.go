//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// loadJob is the load generator's configuration.
type loadJob struct {
	Work     workload      `json:"work"`
	Address  string        `json:"address"`
	Rate     float64       `json:"rate"` // requests a second of all connections; 0: as many as they get
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`
	Cluster  *clusterJob   `json:"cluster,omitempty"` // a real cluster: franz-go is the client
	Keys     *keyFiles     `json:"keys,omitempty"`    // of TLS; nil: plaintext
}

// mark is a line of the load's standard output. The suite looks at the clock and
// at /proc when it reads one.
type mark struct {
	Event    string  `json:"event"`
	At       int64   `json:"at"`       // nanoseconds of the load's clock
	Requests int64   `json:"requests"` // responses so far
	Bytes    int64   `json:"bytes"`    // of frames so far, both ways
	P50      float64 `json:"p50_us"`   // of the responses since begin
	P99      float64 `json:"p99_us"`
	Error    string  `json:"error,omitempty"`
}

// The marks, in their order.
const (
	marked = "start" // nothing is connected yet; the load waits for released
	begin  = "begin" // warmed up: the measurement begins
	end    = "end"   // and ends; the load goes on until the suite has seen all
)

// released is the line that the suite sends after the first mark.
const released = "go"

const (
	// grace is how much longer than planned a load may take before it counts as hung.
	grace       = 15 * time.Second
	dialTimeout = 10 * time.Second
	dialsAtOnce = 32
)

// load is a run of the load generator.
type load struct {
	job      loadJob
	tls      *tls.Config // nil: plaintext
	out      *json.Encoder
	deadline time.Time

	requests, bytes atomic.Int64
	measuring       atomic.Bool

	mu      sync.Mutex // guards the following
	latency *hdrhistogram.Histogram
}

// serveLoad does one job. After the job it reads a line when the suite has sampled the
// state before the load, and then the end of its input when the suite has seen all.
func serveLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var job loadJob
	dec := json.NewDecoder(in)
	if err := dec.Decode(&job); err != nil {
		return fmt.Errorf("the load's job: %w", err)
	}
	l := newLoad(job, out)
	var err error
	if l.tls, err = job.Keys.client(); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	told := func() {
		var rest json.RawMessage
		_ = dec.Decode(&rest) // released, or io.EOF, sooner or later
	}
	err = l.run(ctx, told)
	if err != nil {
		return errors.Join(err, l.out.Encode(mark{Event: end, Error: err.Error()}))
	}
	return nil
}

func newLoad(job loadJob, out io.Writer) *load {
	const lowest, highest, digits = 1, 60_000_000, 3 // microseconds: to a minute
	return &load{
		job: job, out: json.NewEncoder(out),
		deadline: time.Now().Add(job.Work.warmup(job.Warmup) + job.Duration + grace),
		latency:  hdrhistogram.New(lowest, highest, digits),
	}
}

// run connects, loads, and writes its marks. After the first and the last, seen waits for
// the suite. It returns when all its goroutines have ended.
func (l *load) run(ctx context.Context, seen func()) error {
	if err := l.mark(marked); err != nil {
		return err
	}
	seen()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	if err := l.start(ctx, group); err != nil {
		stop()
		return errors.Join(err, quiet(group.Wait()))
	}
	group.Go(func() error {
		defer stop() // all others end by ctx
		if err := wait(ctx, l.job.Work.warmup(l.job.Warmup)); err != nil {
			return err
		}
		l.measuring.Store(true)
		if err := l.mark(begin); err != nil {
			return err
		}
		if err := wait(ctx, l.job.Duration); err != nil {
			return err
		}
		l.measuring.Store(false)
		if err := l.mark(end); err != nil {
			return err
		}
		seen()
		return nil
	})
	return quiet(group.Wait())
}

// quiet is err, unless it only says that we have stopped.
func quiet(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// start starts the workload. It returns when every connection is open.
func (l *load) start(ctx context.Context, group *errgroup.Group) error {
	if l.job.Cluster != nil && l.job.Work.Kind == requests {
		return l.startFranz(ctx, group)
	}
	switch l.job.Work.Kind {
	case churn:
		l.startChurn(ctx, group)
		return nil
	case idle:
		return l.openIdle(ctx)
	case stalled:
		if err := l.openStalled(ctx); err != nil {
			return err
		}
	case requests:
	}
	conns, err := l.open(ctx, l.job.Work.Conns)
	if err != nil {
		return err
	}
	if err := askAll(conns); err != nil {
		return err
	}
	if l.job.Rate > 0 {
		l.startPinned(ctx, group, conns)
		return nil
	}
	for _, c := range conns {
		group.Go(func() error { return c.closedLoop(ctx) })
	}
	return nil
}

// open opens n connections. They are closed when ctx ends.
func (l *load) open(ctx context.Context, n int) ([]*loadConn, error) {
	conns := make([]*loadConn, n)
	dialling, dialCtx := errgroup.WithContext(ctx)
	dialling.SetLimit(dialsAtOnce)
	for i := range conns {
		dialling.Go(func() (err error) {
			conns[i], err = l.dial(dialCtx)
			return err
		})
	}
	if err := dialling.Wait(); err != nil {
		return nil, err
	}
	for _, c := range conns {
		context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	}
	return conns, nil
}

// askAll sends one request on each connection, and reads its response. A proxy may connect to the broker at a
// client's first request: of thousands of connections, these would be most of a turn.
func askAll(conns []*loadConn) error {
	var asking errgroup.Group
	asking.SetLimit(dialsAtOnce)
	for _, c := range conns {
		asking.Go(c.askOnce)
	}
	return asking.Wait()
}

func (l *load) dial(ctx context.Context) (*loadConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", l.job.Address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(l.deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if conn, err = overTLS(ctx, conn, l.tls); err != nil {
		return nil, err
	}
	return newLoadConn(l, conn), nil
}

// responded counts a request that has its response.
func (l *load) responded(bytes int, latency time.Duration) {
	l.requests.Add(1)
	l.bytes.Add(int64(bytes))
	if !l.measuring.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.latency.RecordValue(max(1, min(latency.Microseconds(), l.latency.HighestTrackableValue()))) // it is in range
}

func (l *load) mark(event string) error {
	l.mu.Lock()
	p50, p99 := l.latency.ValueAtQuantile(50), l.latency.ValueAtQuantile(99)
	l.mu.Unlock()
	return l.out.Encode(mark{
		Event: event, At: time.Now().UnixNano(), Requests: l.requests.Load(), Bytes: l.bytes.Load(),
		P50: float64(p50), P99: float64(p99),
	})
}

// wait waits for d, or less if ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
