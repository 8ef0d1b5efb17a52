package proxy

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"kproxy/internal/logkey"
)

// places are how many sessions do one kind of work at one time; the others wait in
// line. There are two kinds: TLS handshakes, and what else a flood of clients can
// order, which is first requests and frames that have to be whole (see turn).
//
// Without places a thousand sessions were runnable at once. A request of a client
// that was there waited behind all of them, and longer: see placesFor.
type places struct {
	taken   chan struct{} // holds an element for each place that is taken
	waiters *waiters
}

// newPlaces returns n places; 0: as many as placesFor says.
func newPlaces(n int, w *waiters) places {
	if n == 0 {
		n = placesFor(runtime.GOMAXPROCS(0))
	}
	return places{make(chan struct{}, n), w}
}

// placesFor is all processors but one. While each has something to run, the Go
// scheduler asks the network every 10 ms only, and every session waits for that at
// each of its hops, behind the sessions that have a place. More places do no work
// faster.
func placesFor(processors int) int { return max(1, processors-1) }

// tryTake takes a place if there is one.
func (p places) tryTake() bool {
	select {
	case p.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// take waits for a place until done is closed. It reports whether it has one.
func (p places) take(done <-chan struct{}) bool {
	if p.tryTake() {
		return true
	}
	p.waiters.n.Add(1)
	defer p.waiters.n.Add(-1)
	select {
	case p.taken <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// give gives a place to the next.
func (p places) give() { <-p.taken }

// waiters counts the sessions that wait for a place. While there are maxWaiters of
// them no connection is accepted: a flood that connects faster than kproxy can work
// waits in the sockets' queues. If its connections were accepted, they would use up
// max_connections, and other clients would be refused.
type waiters struct {
	n      atomic.Int32
	over   atomic.Bool  // the sockets are closed
	pauses atomic.Int64 // how often a listening socket has stopped accepting
	warned atomic.Int64 // when the log was last told; a mark
}

// maxWaiters sessions are served within a second.
const maxWaiters = 1024

// isFull reports whether no connection may be accepted.
func (w *waiters) isFull() bool { return w.n.Load() >= maxWaiters && !w.over.Load() }

// waitShort returns when there are fewer, when the sockets are closed, or when ctx ends.
func (w *waiters) waitShort(ctx context.Context) {
	for w.isFull() && ctx.Err() == nil {
		sleep(ctx, time.Millisecond)
	}
}

// pause counts a pause. It reports whether the log is to be told: once in
// alarmInterval.
func (w *waiters) pause() (tell bool) {
	w.pauses.Add(1)
	last, now := w.warned.Load(), markNow()
	return (mark(last) == never || time.Duration(now)-time.Duration(last) >= alarmInterval) && w.warned.CompareAndSwap(last, int64(now))
}

// waitForPlaces waits while too many sessions wait for a place, and says so in the log.
func (d *door) waitForPlaces(ctx context.Context) {
	w := &d.proxy.waiters
	if !w.isFull() {
		return
	}
	if w.pause() {
		d.proxy.admission.lines.add(logLine{d.log, slog.LevelWarn, "no connection is accepted for a moment: too many wait for their TLS handshake or first request", []slog.Attr{
			slog.Int(logkey.Sessions, maxWaiters),
			slog.String(logkey.Fix, "find the source of the new connections; limits.accept_rate of the listener bounds it"),
		}})
	}
	w.waitShort(ctx)
}

// turn is one pipe's place. One goroutine uses it. It is held while the session
// works, and never while the session waits: for bytes, for a peer that does not
// read, for room, for its queue.
type turn struct {
	places places
	works  bool // the pipe takes turns
	taken  bool
}

// begin has the pipe take turns from now on.
func (t *turn) begin() {
	t.works = true
	t.enter()
}

// end has it take none.
func (t *turn) end() {
	t.works = false
	t.leave()
}

// enter waits for a place, if the pipe takes turns and has none.
func (t *turn) enter() {
	if t.works && !t.taken {
		t.taken = t.places.take(nil)
	}
}

// leave gives the place to the next.
func (t *turn) leave() {
	if t.taken {
		t.taken = false
		t.places.give()
	}
}
