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
//	clients ─▶ by source address ─▶ by user ─┐
//	                                         ├─▶ in turn ─▶ place ─▶ compute
//	brokers ─▶ by cluster ───────────────────┘
//
// At each branch the waiters take turns. A flood from one address delays another address,
// and logins at brokers, by one computation each round. A client that tries a wrong
// password again and again delays the other users of its address by one as well.

// computations are the places of this process.
var computations = newTurns(max(1, runtime.GOMAXPROCS(0)/2))

const (
	// maxWaiting bounds the computations of one kind that wait. 1,024 checks with
	// DefaultIterations take about 4 s of one processor. With more, the client of the
	// last one would time out.
	maxWaiting = 1024
	// lookEvery is how often a waiting caller checks whether it is still needed. After a
	// flood of clients that have left, the queue empties within that time.
	lookEvery = 250 * time.Millisecond
)

// The kinds of computations.
const (
	forClients = iota // passwords that clients send
	forBrokers        // logins at brokers
	kinds
)

// claimant identifies a caller of compute.
type claimant struct {
	kind int
	path []any // from the outermost branch on, such as source and user; comparable
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
	last  int        // the kind of the last turn
	lines [kinds]branch
}

// branch holds the waiters below it. A leaf has a list of waiters, served in the order of
// their arrival. Other branches have branches.
type branch struct {
	key     any
	n       int       // waiters
	below   []*branch // those with waiters; the first one is next
	waiters []*waiter
}

// waiter waits for a place. done is closed when it has one, or when err is set because it
// gets none.
type waiter struct {
	done chan struct{}
	err  error
}

func newTurns(places int) *turns { return &turns{free: places} }

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
	if l.n >= maxWaiting {
		refused, path := l.longest(c.path, nil)
		if refused == nil {
			return nil, ErrTooMany
		}
		l.remove(path, refused)
		refused.err = ErrTooMany
		close(refused.done)
	}
	w := &waiter{done: make(chan struct{})}
	l.add(c.path, w)
	return w, nil
}

// child returns the branch with a key, or nil.
func (b *branch) child(key any) *branch {
	i := slices.IndexFunc(b.below, func(c *branch) bool { return c.key == key })
	if i < 0 {
		return nil
	}
	return b.below[i]
}

func (b *branch) add(path []any, w *waiter) {
	b.n++
	if len(path) == 0 {
		b.waiters = append(b.waiters, w)
		return
	}
	c := b.child(path[0])
	if c == nil {
		c = &branch{key: path[0]}
		b.below = append(b.below, c)
	}
	c.add(path[1:], w)
}

// remove takes a waiter out. It reports false if the waiter is not there.
func (b *branch) remove(path []any, w *waiter) bool {
	if len(path) == 0 {
		i := slices.Index(b.waiters, w)
		if i < 0 {
			return false
		}
		b.waiters = slices.Delete(b.waiters, i, i+1)
		b.n--
		return true
	}
	c := b.child(path[0])
	if c == nil || !c.remove(path[1:], w) {
		return false
	}
	b.n--
	if c.n == 0 {
		b.below = slices.DeleteFunc(b.below, func(other *branch) bool { return other == c })
	}
	return true
}

// next takes out the waiter whose turn it is. There has to be one.
func (b *branch) next() *waiter {
	b.n--
	if len(b.below) == 0 {
		w := b.waiters[0]
		b.waiters = b.waiters[1:]
		return w
	}
	c := b.below[0]
	b.below = b.below[1:]
	w := c.next()
	if c.n > 0 {
		b.below = append(b.below, c) // behind the others
	}
	return w
}

// longest returns the waiter that must make room for a new one, and its path: the newest
// waiter of the longest branch, if that is longer than the branch of the new one would be.
// It returns nil if the new one must give way itself. above is the path of b.
func (b *branch) longest(newcomer, above []any) (*waiter, []any) {
	if len(newcomer) == 0 {
		return nil, nil
	}
	own := b.child(newcomer[0])
	most := slices.MaxFunc(b.below, func(a, b *branch) int { return a.n - b.n })
	rest := 0
	if own != nil {
		rest = own.n
	}
	switch {
	case most.n > rest+1:
		return most.newest(append(above, most.key))
	case own != nil:
		return own.longest(newcomer[1:], append(above, own.key))
	default:
		return nil, nil
	}
}

// newest returns the newest waiter of the longest branch below, and its path.
func (b *branch) newest(path []any) (*waiter, []any) {
	if len(b.below) == 0 {
		return b.waiters[len(b.waiters)-1], path
	}
	most := slices.MaxFunc(b.below, func(a, b *branch) int { return a.n - b.n })
	return most.newest(append(path, most.key))
}

// withdraw takes back a claim. If its place came meanwhile, the next waiter gets
// it.
func (t *turns) withdraw(c claimant, w *waiter) {
	t.mu.Lock()
	waited := t.lines[c.kind].remove(c.path, w)
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
		if l := &t.lines[t.last]; l.n > 0 {
			close(l.next().done)
			return
		}
	}
	t.free++
}
