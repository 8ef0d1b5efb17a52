package proxy

import (
	"sync"
	"time"

	"kproxy/rewrite"
)

// maxInflight bounds the requests of one session that wait for answers. A
// client that pipelines more is not read until answers have gone back; a broker
// reads no more than one request at a time either.
const maxInflight = 1024

// request is one that was forwarded, or answered by the proxy, as its answer
// needs it.
type request struct {
	correlationID int32
	key, version  int16
	treatment     rewrite.Treatment
	kind          requestKind
	read          time.Duration // when its prefix had been read, since the session was opened
	own           []byte        // the whole answer frame, for kind ownAnswer
}

type requestKind uint8

const (
	forwarded     requestKind = iota
	ownAnswer                 // answered by the proxy when its turn has come
	saslHandshake             // SaslHandshake v0: its answer decides about raw tokens
	saslToken                 // a raw SASL token, whose answer is a frame without correlation id
)

// inflight is the queue of requests whose answers are owed to the client, in
// the order in which they came. A broker answers one connection in order.
//
//	push ──▶ ┃ waiting ┃ taken ┃ ──settle──▶ delivered
//
// A request is taken when its answer begins, and delivered when the client has
// all of it. The pump of requests pushes, the pump of answers takes and settles.
type inflight struct {
	mu      sync.Mutex
	changed sync.Cond // L is &mu; signals that requests were delivered, or closed
	ring    []request // grows to maxInflight
	first   int       // index of the oldest request in ring
	count   int       // requests in ring
	taken   int       // of those, the oldest ones whose answers have begun
	closed  bool
	rawSASL bool // frames without a request are SASL tokens, for mechanisms of any length
	// handshakeOK is whether the last SaslHandshake v0 was accepted.
	handshakeOK bool
}

func (q *inflight) init() { q.changed.L = &q.mu }

// push adds a request at the end. full asks the caller to write what it holds
// back, and to call waitRoom. mine says that nothing is owed and r is an answer
// of the proxy's own: the caller delivers it, and it is not queued.
func (q *inflight) push(r request) (full, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case r.kind == ownAnswer && q.count == 0:
		return false, true
	case q.count == maxInflight:
		return true, false
	case q.count == len(q.ring):
		q.grow()
	}
	q.ring[(q.first+q.count)%len(q.ring)] = r
	q.count++
	return false, false
}

func (q *inflight) grow() {
	ring := make([]request, max(8, 2*len(q.ring)))
	for i := range q.count {
		ring[i] = q.ring[(q.first+i)%len(q.ring)]
	}
	q.ring, q.first = ring, 0
}

// unpush takes back the newest request, which was not forwarded whole and so
// will never be answered.
func (q *inflight) unpush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count > q.taken {
		q.count--
	}
}

// take returns the request that the next frame from the broker answers; ok is
// false if nothing is owed. A request of kind ownAnswer is not taken: settle
// delivers it first.
func (q *inflight) take() (r request, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken < q.count {
		r = q.ring[(q.first+q.taken)%len(q.ring)]
		if r.kind != ownAnswer {
			q.taken++
		}
		return r, true
	}
	if q.rawSASL {
		return request{kind: saslToken}, true
	}
	return request{}, false
}

// settle says that the client has every answer that was taken. If the next one
// is the proxy's own, it is taken and returned: deliver it and settle again.
func (q *inflight) settle() (own []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken > 0 {
		q.first = (q.first + q.taken) % len(q.ring)
		q.count -= q.taken
		q.taken = 0
		q.changed.Signal()
	}
	if q.count == 0 {
		return nil
	}
	if r := &q.ring[q.first]; r.kind == ownAnswer {
		q.taken = 1
		own, r.own = r.own, nil
	}
	return own
}

// owed returns how many requests have no complete answer yet. Of those that are
// taken only the last one's answer may still be arriving.
func (q *inflight) owed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count - max(q.taken-1, 0)
}

// waitRoom waits until a request can be pushed, or the queue is closed.
func (q *inflight) waitRoom() { q.waitUntil(func() bool { return q.count < maxInflight }) }

// waitDelivered waits until nothing is owed, or the queue is closed.
func (q *inflight) waitDelivered() { q.waitUntil(func() bool { return q.count == 0 }) }

func (q *inflight) waitUntil(done func() bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !done() && !q.closed {
		q.changed.Wait()
	}
}

// isClosed reports whether close was called.
func (q *inflight) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// close wakes whoever waits: no further answer will come.
func (q *inflight) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}

// setHandshake notes the outcome of a SaslHandshake v0.
func (q *inflight) setHandshake(ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.handshakeOK = ok
}

// handshake returns the outcome that setHandshake noted.
func (q *inflight) handshake() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.handshakeOK
}

// setRawSASL says whether frames that nobody asked for are SASL tokens.
func (q *inflight) setRawSASL(raw bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rawSASL = raw
}
