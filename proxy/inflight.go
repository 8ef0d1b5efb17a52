package proxy

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"kproxy/rewrite"
)

// maxInflight bounds the requests of one session that wait for answers. A
// client that pipelines more is not read until answers have gone back; a broker
// reads no more than one request at a time either. It is a power of two.
const maxInflight = 1024

// maxOwn bounds the bytes of the proxy's own answers that wait for their turn, in the same
// way: a long poll in front of them may take minutes.
const maxOwn = 256 << 10

// ringCounted is from which size on a queue counts as held bytes, in requests.
const ringCounted = 128

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
	ownRequest                // a request of the proxy's own, whose answer is not the client's
	saslToken                 // a raw SASL token, whose answer is a frame without correlation id
)

// inflight is the queue of requests whose answers are owed to the client, in
// the order in which they came. A broker answers one connection in order.
//
//	push ──▶ ┃ waiting ┃ taken ┃ ──settle──▶ delivered
//
// A request is taken when its answer begins, and delivered when the client has
// all of it. The pump of requests pushes and waits, the pump of answers takes,
// settles and closes; everybody may look. Nothing in it locks but to wait, and
// to wake who waits.
type inflight struct {
	// ring has a power of two places and grows to maxInflight. The pump of
	// requests puts another one in its place, with the same requests, before it
	// pushes what that one alone has room for; so whoever has seen in ends that a
	// request was pushed finds it in the ring that it loads then.
	ring atomic.Pointer[[]request]
	// ends counts the requests that were pushed (upper half) and taken (lower
	// half). They change together, because a request that was not forwarded
	// whole is taken back only if its answer has not begun.
	ends    atomic.Uint64
	own     atomic.Int64  // bytes of the proxy's own answers that are queued
	settled atomic.Uint32 // how many were delivered; the pump of answers counts

	closed  atomic.Bool
	rawSASL atomic.Bool // frames without a request are SASL tokens, for mechanisms of any length
	// handshakeOK is whether the last SaslHandshake v0 was accepted.
	handshakeOK atomic.Bool

	waiting atomic.Bool // the pump of requests waits, or is about to
	mu      sync.Mutex  // guards waiting for changed
	changed sync.Cond   // L is &mu; signals that requests were delivered, or closed
}

// pushedOne is one request more in the upper half of ends.
const pushedOne = 1 << 32

func (q *inflight) init() { q.changed.L = &q.mu }

// at is the place of the nth request in a ring.
func at(ring []request, n uint32) *request { return &ring[n&uint32(len(ring)-1)] }

// counts returns how many requests were pushed, taken and settled, each of them
// wrapping around. settled is read first: it is behind the others, never ahead.
func (q *inflight) counts() (pushed, taken, settled uint32) {
	settled = q.settled.Load()
	ends := q.ends.Load()
	return uint32(ends >> 32), uint32(ends), settled
}

// push adds a request at the end. full asks the caller to write what it holds
// back, and to call waitRoom. mine says that nothing is owed and r is an answer
// of the proxy's own: the caller delivers it, and it is not queued.
func (q *inflight) push(r request) (full, mine bool) {
	pushed, _, settled := q.counts()
	count := pushed - settled
	own := int64(len(r.own))
	switch {
	case r.kind == ownAnswer && count == 0:
		return false, true
	case count == maxInflight, r.kind == ownAnswer && q.own.Load()+own > maxOwn:
		return true, false
	}
	ring := q.ring.Load()
	if ring == nil || int(count) == len(*ring) {
		ring = q.grow(ring, settled, count)
	}
	*at(*ring, pushed) = r
	q.own.Add(own)
	q.ends.Add(pushedOne)
	return false, r.kind == ownAnswer && q.takeBack(pushed, own)
}

// takeBack takes the newest request back, the nth, which is an answer of the proxy's own,
// if all before it have been delivered and settle has not taken it. Otherwise settle does:
// it looks at what was pushed behind what it says was delivered, as this looks at what was
// delivered behind the push, so that one of them sees the other.
func (q *inflight) takeBack(nth uint32, own int64) bool {
	if q.settled.Load() != nth {
		return false
	}
	ends := uint64(nth+1)<<32 | uint64(nth)
	if !q.ends.CompareAndSwap(ends, uint64(nth)<<32|uint64(nth)) {
		return false
	}
	q.own.Add(-own)
	return true
}

// growth is how many bytes more the queue takes when another request is pushed, as
// far as they count.
func (q *inflight) growth() int64 {
	ring := q.ring.Load()
	if ring == nil || 2*len(*ring) < ringCounted {
		return 0
	}
	if pushed, _, settled := q.counts(); int(pushed-settled) < len(*ring) || len(*ring) == maxInflight {
		return 0
	}
	return ringBytes(2*len(*ring)) - ringBytes(len(*ring))
}

// ringBytes is what a ring of n places counts as.
func ringBytes(n int) int64 {
	if n < ringCounted {
		return 0
	}
	return int64(n) * int64(unsafe.Sizeof(request{}))
}

// waitOne waits until another request can be pushed without growth.
func (q *inflight) waitOne() { q.waitUntil(uint32(len(*q.ring.Load())) - 1) }

// grow replaces the ring by one of twice the size. Requests that the pump of
// answers takes meanwhile are in both.
func (q *inflight) grow(old *[]request, first, count uint32) *[]request {
	ring := make([]request, 8)
	if old != nil {
		ring = make([]request, 2*len(*old))
		for n := first; n != first+count; n++ {
			*at(ring, n) = *at(*old, n)
		}
	}
	q.ring.Store(&ring)
	return &ring
}

// unpush takes back the newest request, which was not forwarded whole and so
// will never be answered. Nothing is pushed after it, or the pump of answers
// might take a request that is no longer there.
func (q *inflight) unpush() {
	for {
		ends := q.ends.Load()
		if uint32(ends>>32) == uint32(ends) || q.ends.CompareAndSwap(ends, ends-pushedOne) {
			return
		}
	}
}

// take returns the request that the next frame from the broker answers; ok is
// false if nothing is owed. A request of kind ownAnswer is not taken: settle
// delivers it first.
func (q *inflight) take() (r request, ok bool) {
	for {
		ends := q.ends.Load()
		if uint32(ends>>32) == uint32(ends) {
			break
		}
		r = *at(*q.ring.Load(), uint32(ends))
		if r.kind == ownAnswer || q.ends.CompareAndSwap(ends, nextTaken(ends)) {
			return r, true
		}
	}
	if q.rawSASL.Load() {
		return request{kind: saslToken}, true
	}
	return request{}, false
}

// nextTaken is ends with one more request taken; the lower half wraps around by
// itself.
func nextTaken(ends uint64) uint64 { return ends&^(pushedOne-1) | uint64(uint32(ends)+1) }

// settle says that the client has every answer that was taken. If the next one
// is the proxy's own, it is taken and returned: deliver it and settle again.
func (q *inflight) settle() (own []byte) {
	for {
		ends := q.ends.Load()
		if taken := uint32(ends); taken != q.settled.Load() {
			q.settled.Store(taken)
			q.wake()
			continue // what was pushed until then is to be seen: takeBack
		}
		if uint32(ends>>32) == uint32(ends) {
			return nil
		}
		r := at(*q.ring.Load(), uint32(ends))
		if r.kind != ownAnswer {
			return nil
		}
		own = r.own
		if q.ends.CompareAndSwap(ends, nextTaken(ends)) {
			q.own.Add(-int64(len(own)))
			return own
		}
	}
}

// owed returns how many requests have no complete answer yet. Of those that are
// taken only the last one's answer may still be arriving.
func (q *inflight) owed() int {
	pushed, taken, settled := q.counts()
	return int(pushed-settled) - max(int(taken-settled)-1, 0)
}

// waitRoom waits until a request can be pushed, or the queue is closed.
func (q *inflight) waitRoom() { q.waitUntil(maxInflight - 1) }

// waitDelivered waits until nothing is owed, or the queue is closed.
func (q *inflight) waitDelivered() { q.waitUntil(0) }

// waitUntil waits until no more than most requests are queued. Whoever delivers
// one looks at waiting behind that, and whoever waits sets it before he looks at
// what is delivered: one of them sees the other.
func (q *inflight) waitUntil(most uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Store(true)
	defer q.waiting.Store(false)
	for {
		pushed, _, settled := q.counts()
		if pushed-settled <= most || q.closed.Load() {
			return
		}
		q.changed.Wait()
	}
}

// wake wakes the pump of requests if it waits.
func (q *inflight) wake() {
	if q.waiting.Load() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Signal()
	}
}

// lighten gives the ring up, which is empty, and returns what it has counted as.
func (q *inflight) lighten() int64 {
	ring := q.ring.Swap(nil)
	if ring == nil {
		return 0
	}
	return ringBytes(len(*ring))
}

// isClosed reports whether close was called.
func (q *inflight) isClosed() bool { return q.closed.Load() }

// close wakes whoever waits: no further answer will come.
func (q *inflight) close() {
	q.closed.Store(true)
	q.wake()
}

// setHandshake notes the outcome of a SaslHandshake v0.
func (q *inflight) setHandshake(ok bool) { q.handshakeOK.Store(ok) }

// handshake returns the outcome that setHandshake noted.
func (q *inflight) handshake() bool { return q.handshakeOK.Load() }

// setRawSASL says whether frames that nobody asked for are SASL tokens.
func (q *inflight) setRawSASL(raw bool) { q.rawSASL.Store(raw) }
