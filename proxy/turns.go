package proxy

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// waiters counts the sessions that wait for a turn, or for a place of a handshake.
// While there are maxWaiters of them no connection is accepted: a flood that connects
// faster than kproxy can work waits in the sockets' queues. If its connections
// were accepted they would use up max_connections, and other clients were refused.
type waiters struct {
	n    atomic.Int32
	over atomic.Bool // the sockets are closed
}

// maxWaiters sessions are served within a second.
const maxWaiters = 1024

// waitShort returns when there are fewer, when the sockets are closed, or when ctx ends.
func (w *waiters) waitShort(ctx context.Context) {
	for w.n.Load() >= maxWaiters && !w.over.Load() && ctx.Err() == nil {
		sleep(ctx, time.Millisecond)
	}
}

// turns are for work that a flood of clients can order: first requests, and frames
// that have to be whole. As many sessions do such work at one time as there are
// processors but one; the others wait in line.
//
// Without turns a thousand sessions were runnable at once. A request of a client
// that was there waited behind all of them, and longer: while every processor has
// goroutines to run, Go's scheduler looks at the network every 10 ms only. See
// handshakesFor, which is the same for TLS.
type turns struct {
	free    chan struct{}
	waiters *waiters
}

func newTurns(w *waiters) turns {
	return turns{make(chan struct{}, handshakesFor(runtime.GOMAXPROCS(0))), w}
}

// turn is one pipe's part in them. One goroutine uses it. It is held while the
// session works, and never while it waits: for bytes, for a peer that does not
// read, for room, for its queue.
type turn struct {
	turns turns
	works bool // the pipe takes turns
	taken bool
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

// enter waits for a turn, if the pipe takes turns and has none.
func (t *turn) enter() {
	if t.works && !t.taken {
		t.turns.waiters.n.Add(1)
		t.turns.free <- struct{}{}
		t.turns.waiters.n.Add(-1)
		t.taken = true
	}
}

// leave gives the turn to the next.
func (t *turn) leave() {
	if t.taken {
		t.taken = false
		<-t.turns.free
	}
}
