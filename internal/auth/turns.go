package auth

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A password check and a login by SCRAM at a broker both compute PBKDF2, which
// takes milliseconds to a second of one processor and cannot be interrupted. The
// other party chooses when, and partly how much. So all of them in the process
// share a few places:
//
//	clients ─▶ by source address ─┐
//	                              ├─▶ in turn ─▶ place ─▶ compute
//	brokers ─▶ by cluster ────────┘
//
// Clients and brokers take turns, and so do the sources of each: a flood from one
// address delays the other addresses by one computation each round, and delays
// logins at brokers not at all.

// computations are the places of this process.
var computations = newTurns(max(1, runtime.GOMAXPROCS(0)/2))

const (
	// maxWaiting bounds the computations of one kind that wait. 1,024 checks with
	// DefaultIterations take about 4 s of one processor. With more, the last would
	// wait longer than its client does.
	maxWaiting = 1024
	// lookEvery is how often a caller that waits asks whether it still has to. A
	// flood of clients that have left then leaves the queue within that time.
	lookEvery = 250 * time.Millisecond
)

// The kinds of computations.
const (
	forClients = iota // passwords that clients send
	forBrokers        // logins at brokers
	kinds
)

// claimant identifies who wants to compute.
type claimant struct {
	kind   int
	source any // comparable; claimants of one source share its turns
	// stay returns an error once the claimant no longer needs its turn. It may be
	// nil.
	stay func() error
}

func (c claimant) leaves() error {
	if c.stay == nil {
		return nil
	}
	return c.stay()
}

// ErrTooMany reports that a computation was refused because too many wait.
var ErrTooMany = errors.New("too many logins wait for a processor")

// turns hands out places in turn.
type turns struct {
	mu    sync.Mutex // guards the following
	free  int        // places; if there is one, nothing waits
	last  int        // the kind that had the last turn
	lines [kinds]line
}

// line holds the waiters of one kind.
type line struct {
	waiting int
	sources map[any]*queue
	ring    []*queue // those with waiters; the first one is next
}

// queue holds the waiters of one source, first come, first served.
type queue struct {
	source  any
	waiters []*waiter
}

// waiter waits for a place. done is closed when it has one, or when err says why
// it gets none.
type waiter struct {
	done chan struct{}
	err  error
}

func newTurns(places int) *turns {
	t := &turns{free: places}
	for i := range t.lines {
		t.lines[i].sources = map[any]*queue{}
	}
	return t
}

// compute runs work once c has a place, and returns its result. It returns early,
// with an error, if ctx ends or c leaves before. Work that has started is not
// interrupted: it keeps its place to its end, and its result is dropped.
func compute[T any](ctx context.Context, t *turns, c claimant, work func() T) (result T, err error) {
	if err := t.take(ctx, c); err != nil {
		return result, err
	}
	done := make(chan T, 1)
	go func() {
		defer t.release()
		done <- work()
	}()
	select {
	case result = <-done:
		return result, nil
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

// take waits for a place.
func (t *turns) take(ctx context.Context, c claimant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := t.enter(c)
	if w == nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			if w.err == nil {
				// The claimant may have left since the last look.
				if err = c.leaves(); err != nil {
					t.release()
				}
				return err
			}
			return w.err
		case <-ctx.Done():
			err = ctx.Err()
		case <-tick.C:
			err = c.leaves()
		}
		if err != nil {
			t.withdraw(c, w)
			return err
		}
	}
}

// enter takes a free place, and returns nil, or joins the line.
func (t *turns) enter(c claimant) (*waiter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil, nil
	}
	l := &t.lines[c.kind]
	q := l.sources[c.source]
	if l.waiting >= maxWaiting && !l.makeRoom(q) {
		return nil, ErrTooMany
	}
	if q = l.sources[c.source]; q == nil {
		q = &queue{source: c.source}
		l.sources[c.source] = q
		l.ring = append(l.ring, q)
	}
	w := &waiter{done: make(chan struct{})}
	q.waiters = append(q.waiters, w)
	l.waiting++
	return w, nil
}

// makeRoom refuses the newest waiter of the source that has most of them, for a
// newcomer of the source of q. It reports false if that source is the newcomer's
// own, or has no more than it.
func (l *line) makeRoom(q *queue) bool {
	own := 0
	if q != nil {
		own = len(q.waiters)
	}
	longest := slices.MaxFunc(l.ring, func(a, b *queue) int { return len(a.waiters) - len(b.waiters) })
	if len(longest.waiters) <= own+1 {
		return false
	}
	w := longest.waiters[len(longest.waiters)-1]
	l.remove(longest, w)
	w.err = ErrTooMany
	close(w.done)
	return true
}

// remove takes a waiter out of its queue, and a queue that is empty out of the
// line. It reports false if the waiter is not there.
func (l *line) remove(q *queue, w *waiter) bool {
	i := slices.Index(q.waiters, w)
	if i < 0 {
		return false
	}
	q.waiters = slices.Delete(q.waiters, i, i+1)
	l.waiting--
	if len(q.waiters) == 0 {
		delete(l.sources, q.source)
		l.ring = slices.DeleteFunc(l.ring, func(other *queue) bool { return other == q })
	}
	return true
}

// withdraw takes back a claim. If its place came meanwhile, the next waiter gets
// it.
func (t *turns) withdraw(c claimant, w *waiter) {
	t.mu.Lock()
	l := &t.lines[c.kind]
	q := l.sources[c.source]
	waited := q != nil && l.remove(q, w)
	t.mu.Unlock()
	if !waited && w.err == nil {
		t.release()
	}
}

// release gives a place to the next waiter, or makes it free.
func (t *turns) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range kinds {
		t.last = (t.last + 1) % kinds
		if l := &t.lines[t.last]; l.waiting > 0 {
			l.serve()
			return
		}
	}
	t.free++
}

// serve gives a place to the first waiter of the source whose turn it is.
func (l *line) serve() {
	q := l.ring[0]
	w := q.waiters[0]
	l.ring = append(l.ring[1:], q) // behind the others, if it has more waiters
	l.remove(q, w)
	close(w.done)
}
