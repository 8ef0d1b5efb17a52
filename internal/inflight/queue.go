// Package inflight matches the responses of a broker to their requests. A broker responds
// to the requests of one connection in their order, so a queue is enough.
//
// The two types to know are [Queue] and [Request]. The package reads no frame and knows
// no connection.
package inflight

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"kproxy/rewrite"
)

// maxInflight bounds the requests of one session that wait for responses. A client that
// pipelines more is not read until responses have been delivered; a broker, too, reads
// one request at a time. It is a power of two.
const maxInflight = 1024

// maxOwn bounds the bytes of kproxy's own responses that wait for their turn. A long poll
// in front of them may take minutes.
const maxOwn = 256 << 10

// ringCounted is from which size on a queue counts as held bytes, in requests.
const ringCounted = 128

// Request has the fields of a request that its response needs.
type Request struct {
	CorrelationID int32
	Key, Version  int16
	Treatment     rewrite.Treatment
	Kind          Kind
	Read          time.Duration // the time when kproxy had read its prefix, since the session was opened
	Own           []byte        // the whole response frame, for OwnResponse
}

// Kind says where the response to a request comes from, and how it is recognised.
type Kind uint8

// The kinds.
const (
	Forwarded     Kind = iota // the broker responds
	OwnResponse               // kproxy responds, in the request's turn
	SASLHandshake             // SaslHandshake v0: its response decides whether raw tokens follow
	OwnRequest                // kproxy's own request; the client does not get its response
	SASLToken                 // a raw SASL token; its response is a frame without correlation id
)

// Queue holds the requests whose responses are owed to the client, in the order in which
// the requests came.
//
//	push ──▶ ┃ waiting ┃ taken ┃ ──settle──▶ delivered
//
// A request is taken when its response begins, and delivered when the client has the
// whole response. The pump of requests pushes and waits. The pump of responses takes,
// settles and closes. Other goroutines may only look. The lock is for waiting, for raw SASL
// tokens, and for the proxy's own responses.
//
// Call Init before anything else. A Queue must not be copied.
type Queue struct {
	// ring has a power of two places and grows to maxInflight. Before the pump of
	// requests pushes a request that needs a larger ring, it stores one with the same
	// requests. So a goroutine that sees a request counted in ends finds it in the ring
	// that it loads after that.
	ring atomic.Pointer[[]Request]
	// ends counts the requests that were pushed (upper half) and taken (lower half).
	// They change together, because a request that was not forwarded whole is taken
	// back only if its response has not begun.
	ends    atomic.Uint64
	own     atomic.Int64  // bytes of kproxy's own responses that are queued, or about to be
	settled atomic.Uint32 // requests delivered; the pump of responses counts

	closed atomic.Bool
	// handshakeOK is whether the last SaslHandshake v0 was accepted.
	handshakeOK atomic.Bool

	waiting atomic.Bool // the pump of requests waits, or is about to
	mu      sync.Mutex  // guards waiting for changed, and the following
	changed sync.Cond   // L is &mu; signals that requests were delivered, or closed
	rawSASL bool        // frames without a request are SASL tokens, in mechanisms of any length
}

// pushedOne is one request more in the upper half of ends.
const pushedOne = 1 << 32

// Init makes the queue ready. It is a method and not a constructor, because a queue is
// part of its session.
func (q *Queue) Init() { q.changed.L = &q.mu }

// at is the place of the nth request in a ring.
func at(ring []Request, n uint32) *Request { return &ring[n&uint32(len(ring)-1)] }

// counts returns how many requests were pushed, taken and settled. Each count wraps
// around. settled is read first, so that it is never ahead of the others.
func (q *Queue) counts() (pushed, taken, settled uint32) {
	settled = q.settled.Load()
	ends := q.ends.Load()
	return uint32(ends >> 32), uint32(ends), settled
}

// Push adds a request at the end. If it returns full, the request was not added: the
// caller flushes its held bytes and calls WaitRoom. If it returns mine, r is an
// OwnResponse and nothing is owed before it: the caller delivers it itself, and it is not
// queued.
func (q *Queue) Push(r Request) (full, mine bool) {
	if r.Kind == OwnResponse {
		return q.pushOwn(r)
	}
	pushed, _, settled := q.counts()
	if pushed-settled == maxInflight {
		return true, false
	}
	if q.isFull(pushed - settled) {
		q.mu.Lock() // of a response of the proxy's own, its frame is taken out under it
		q.grow(settled, pushed-settled)
		q.mu.Unlock()
	}
	*at(*q.ring.Load(), pushed) = r
	q.ends.Add(pushedOne)
	return false, false
}

// pushOwn counts the bytes of r before it looks at settled; Settle stores settled before it looks at
// the bytes. So at least one of them sees the other. Both decide under the lock, so one of them alone
// has the response.
func (q *Queue) pushOwn(r Request) (full, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := int64(len(r.Own))
	full = q.own.Load()+size > maxOwn
	q.own.Add(size)
	pushed, _, settled := q.counts()
	mine = pushed == settled
	full = !mine && (full || pushed-settled == maxInflight)
	if mine || full {
		q.own.Add(-size)
		return full, mine
	}
	if q.isFull(pushed - settled) {
		q.grow(settled, pushed-settled)
	}
	*at(*q.ring.Load(), pushed) = r
	q.ends.Add(pushedOne)
	return false, false
}

// isFull reports whether the ring has no place for one request more than count.
func (q *Queue) isFull(count uint32) bool {
	ring := q.ring.Load()
	return ring == nil || int(count) == len(*ring)
}

// Growth returns by how many bytes the ring grows when another request is pushed. Rings
// below ringCounted places count as 0.
func (q *Queue) Growth() int64 {
	ring := q.ring.Load()
	if ring == nil || 2*len(*ring) < ringCounted {
		return 0
	}
	if pushed, _, settled := q.counts(); int(pushed-settled) < len(*ring) || len(*ring) == maxInflight {
		return 0
	}
	return ringBytes(2*len(*ring)) - ringBytes(len(*ring))
}

// Held returns how many bytes the ring counts as.
func (q *Queue) Held() int64 {
	ring := q.ring.Load()
	if ring == nil {
		return 0
	}
	return ringBytes(len(*ring))
}

// ringBytes is how many held bytes a ring of n places counts as.
func ringBytes(n int) int64 {
	if n < ringCounted {
		return 0
	}
	return int64(n) * int64(unsafe.Sizeof(Request{}))
}

// WaitOne waits until a request can be pushed without growing the ring, or the queue is
// closed.
func (q *Queue) WaitOne() { q.waitUntil(uint32(len(*q.ring.Load())) - 1) }

// grow replaces the ring by one of twice the size, under the lock. Requests that the pump of
// responses takes meanwhile are in both.
func (q *Queue) grow(first, count uint32) {
	ring := make([]Request, 8)
	if old := q.ring.Load(); old != nil {
		ring = make([]Request, 2*len(*old))
		for n := first; n != first+count; n++ {
			*at(ring, n) = *at(*old, n)
		}
	}
	q.ring.Store(&ring)
}

// Unpush takes back the newest request, which was not forwarded whole and will get no
// response. The caller must push nothing after it: the pump of responses might take a
// request that is no longer there.
func (q *Queue) Unpush() {
	for {
		ends := q.ends.Load()
		if uint32(ends>>32) == uint32(ends) || q.ends.CompareAndSwap(ends, ends-pushedOne) {
			return
		}
	}
}

// Take returns the request that the broker's next frame responds to. ok is false if
// nothing is owed. It returns an OwnResponse without taking it: Settle delivers that
// first.
func (q *Queue) Take() (r Request, ok bool) {
	for {
		ends := q.ends.Load()
		if uint32(ends>>32) == uint32(ends) {
			break
		}
		r = *at(*q.ring.Load(), uint32(ends))
		if r.Kind == OwnResponse || q.ends.CompareAndSwap(ends, nextTaken(ends)) {
			return r, true
		}
	}
	return Request{Kind: SASLToken}, q.takeToken()
}

// takeToken reports whether the broker's next frame is a raw SASL token that no request was
// queued for. The token is owed until Settle, as the response to a request is: the pump of
// requests, which may leave raw SASL meanwhile, delivers no response of its own beside it. While
// rawSASL is set, that pump pushes nothing.
func (q *Queue) takeToken() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.rawSASL {
		return false
	}
	if pushed, _, settled := q.counts(); pushed == settled { // else one that is owed stands for this one, too
		q.ends.Store(uint64(pushed+1)<<32 | uint64(pushed+1))
	}
	return true
}

// nextTaken is ends with one more request taken; the lower half wraps around by
// itself.
func nextTaken(ends uint64) uint64 { return ends&^(pushedOne-1) | uint64(uint32(ends)+1) }

// Settle notes that the client has every response that was taken. If the next request is
// an OwnResponse, Settle takes it and returns its frame: the caller delivers it and calls
// Settle again. The queue keeps nothing of the frame.
func (q *Queue) Settle() (own []byte) {
	for {
		if taken := uint32(q.ends.Load()); taken != q.settled.Load() {
			q.settled.Store(taken)
			q.wake()
			continue
		}
		if q.own.Load() == 0 {
			return nil
		}
		return q.takeOwn()
	}
}

func (q *Queue) takeOwn() (own []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		ends := q.ends.Load()
		if uint32(ends>>32) == uint32(ends) {
			return nil
		}
		r := at(*q.ring.Load(), uint32(ends))
		if r.Kind != OwnResponse {
			return nil
		}
		if q.ends.CompareAndSwap(ends, nextTaken(ends)) { // else the pump of requests has pushed, or taken back
			own, r.Own = r.Own, nil
			q.own.Add(-int64(len(own)))
			return own
		}
	}
}

// Owed returns how many requests have no complete response yet. Of the requests that are
// taken, only the last one's response may still be arriving.
func (q *Queue) Owed() int {
	pushed, taken, settled := q.counts()
	return int(pushed-settled) - max(int(taken-settled)-1, 0)
}

// WaitRoom waits until a request can be pushed, or the queue is closed.
func (q *Queue) WaitRoom() { q.waitUntil(maxInflight - 1) }

// WaitDelivered waits until nothing is owed, or the queue is closed.
func (q *Queue) WaitDelivered() { q.waitUntil(0) }

// waitUntil waits until at most that many requests are queued, or the queue is closed. It
// sets waiting before it loads the counts; Settle loads waiting after it stores settled. So
// one of them sees the other.
func (q *Queue) waitUntil(most uint32) {
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
func (q *Queue) wake() {
	if q.waiting.Load() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Signal()
	}
}

// Shrink frees the ring, which must be empty, and returns how many held bytes it counted
// as.
func (q *Queue) Shrink() int64 {
	held := q.Held()
	q.ring.Store(nil)
	return held
}

// IsClosed reports whether Close was called.
func (q *Queue) IsClosed() bool { return q.closed.Load() }

// Close says that no further response will come, and wakes the goroutine that waits.
func (q *Queue) Close() {
	q.closed.Store(true)
	q.wake()
}

// SetHandshake notes whether the broker accepted a SaslHandshake v0.
func (q *Queue) SetHandshake(ok bool) { q.handshakeOK.Store(ok) }

// Handshake returns the value that SetHandshake set last.
func (q *Queue) Handshake() bool { return q.handshakeOK.Load() }

// SetRawSASL says whether frames without a request are SASL tokens.
func (q *Queue) SetRawSASL(raw bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rawSASL = raw
}
