// Package turns limits how many sessions work at one time. A flood of clients can order
// more work than the processors do. Without turns a thousand sessions are runnable at
// once, and the request of a client that is already there waits behind all of them.
//
// The types to know are [Places], the number of sessions that work at one time, and [Turn],
// which holds a place while one session works.
package turns

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// Places limit how many sessions do one kind of work at one time. The others wait in line.
type Places struct {
	taken   chan struct{} // holds an element for each place that is taken
	waiters *Waiters
}

// NewPlaces returns n places; 0: all processors but one. Sessions that wait for one of them
// count as w's.
func NewPlaces(n int, w *Waiters) Places {
	if n == 0 {
		n = placesFor(runtime.GOMAXPROCS(0))
	}
	return Places{make(chan struct{}, n), w}
}

// placesFor is all processors but one. While each processor has something to run, the Go
// scheduler polls the network only every 10 ms, and every session waits for that at each
// of its hops, behind the sessions that have a place. More places do no work faster.
func placesFor(processors int) int { return max(1, processors-1) }

// TryTake takes a place if one is free.
func (p Places) TryTake() bool {
	select {
	case p.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// Take waits for a place until done is closed. It reports whether it took one.
func (p Places) Take(done <-chan struct{}) bool {
	if p.TryTake() {
		return true
	}
	p.waiters.Add(1)
	defer p.waiters.Add(-1)
	select {
	case p.taken <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// Give frees a place.
func (p Places) Give() { <-p.taken }

// Taken returns how many places are taken.
func (p Places) Taken() int { return len(p.taken) }

// Max is how many sessions may wait for a place before no further connection should be
// accepted. They are served within a second.
const Max = 1024

// Waiters counts the sessions that wait for a place. While there are [Max] of them, kproxy
// accepts no connection: a flood that connects faster than kproxy can work waits in the
// sockets' queues. If its connections were accepted, they would use up max_connections, and
// other clients would be refused. The zero value is ready.
type Waiters struct {
	n    atomic.Int32
	over atomic.Bool
}

// Add counts n more sessions that wait.
func (w *Waiters) Add(n int) { w.n.Add(int32(n)) }

// Count returns how many sessions wait.
func (w *Waiters) Count() int { return int(w.n.Load()) }

// IsFull reports whether no connection should be accepted.
func (w *Waiters) IsFull() bool { return w.n.Load() >= Max && !w.over.Load() }

// Close says that the sockets are closed: nothing is held back any more.
func (w *Waiters) Close() { w.over.Store(true) }

// Wait returns when w is not full, or when ctx ends.
func (w *Waiters) Wait(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.IsFull() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Turn is the place of one session. One goroutine uses it. The session has the place
// while it works, and never while it waits: for bytes, for a peer that does not read, for
// room, for its queue.
type Turn struct {
	Places Places
	on     bool // the session takes turns
	taken  bool
}

// On reports whether the session takes turns.
func (t *Turn) On() bool { return t.on }

// Begin has the session take turns from now on, and waits for the first one.
func (t *Turn) Begin() {
	t.on = true
	t.Enter()
}

// End ends the session's turns.
func (t *Turn) End() {
	t.on = false
	t.Leave()
}

// Enter waits for a place, if the session takes turns and has none.
func (t *Turn) Enter() {
	if t.on && !t.taken {
		t.taken = t.Places.Take(nil)
	}
}

// Leave frees the place, if the session has one.
func (t *Turn) Leave() {
	if t.taken {
		t.taken = false
		t.Places.Give()
	}
}
