package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/relay"
)

// Held bytes are the memory for clients beyond the 16 KiB that each direction of a session may
// have for its buffer: requests that are refused, requests and responses that must be whole
// before they can be parsed, logins, handshakes, responses of kproxy's own that wait for their
// turn, and the queue of requests in flight. Each of them has a limit for one client; budget
// is the limit for all clients together.
//
// Bytes are taken from the budget before they are held:
//
//	take ──▶ room ──▶ held
//	  │ none: the session ends that comes first (held_bytes)
//	  └─▶ without a broker or a login, if those hold more than a quarter, else with
//	      ▸ of the source that holds most ▸ the largest
//
// A session that holds next to nothing is never refused anything, so the forwarding
// of ordinary requests does not depend on the budget. Sessions that have a broker
// may fill three quarters of it: the rest is for handshakes, logins and first
// requests, so that clients that are in do not keep others out.
type budget struct {
	proxy *Proxy
	max   atomic.Int64 // 0 before Start
	used  atomic.Int64

	ending atomic.Int64 // held by sessions that were evicted, and have not given it back

	// line holds an element while a session waits for room. The others wait for the
	// line: a thousand that look at all sessions at once would keep every processor.
	line    chan struct{}
	freed   chan struct{} // holds one when bytes were given back while a session waits
	waiting atomic.Bool
}

const (
	// handshakeBytes is the memory of a TLS handshake with a client: the hello, the
	// certificates, keys and crypto/tls's own buffers (measured: 40 KiB).
	handshakeBytes = 48 << 10
	// handshakeRead is how many of a client's bytes handshakeBytes includes: a hello has 2 KiB at
	// most, a client's certificates a few.
	handshakeRead = 8 << 10
	// handshakeFactor is the memory of crypto/tls for each further byte (measured: 2.7).
	handshakeFactor = 3
	// decodeFactor is the memory of a frame that is decoded as a whole, as a multiple of its
	// length: the decoded frame, and the one that replaces it.
	decodeFactor = 2
	// heldPart is the default budget's part of the memory limit. A collection
	// may find as much garbage as there is live memory, and a buffer that grows
	// is there twice.
	heldPart = 4
	// minHeldDefault is the least default.
	minHeldDefault = 32 << 20
	// openPart of the budget is what sessions with a broker may fill.
	openPart = 0.75
	// spareablePart is the part of the budget for memory that a session can do without: a
	// longer queue, and buffers for bulk. The rest is for memory that a session needs.
	spareablePart = 0.375
	// evictPart is the divisor for the part of the budget that an eviction frees beyond the
	// requested bytes.
	evictPart = 16
	// roomTimeout is how long a session waits for the bytes of an evicted one.
	roomTimeout = 2 * time.Second
	// holdTimeout is how long a response may take that has to be held whole.
	// Requests have first_request_timeout.
	holdTimeout = time.Minute
)

// limitHeldBytes sets the budget, and logs it with its source.
func (p *Proxy) limitHeldBytes() {
	limit := p.conf().MaxHeldBytes
	follows := limit == 0
	if follows {
		memory, known := memoryLimit()
		if !known {
			memory = 1 << 30
		}
		limit = max(memory/heldPart, minHeldDefault)
	}
	if p.budget.max.Swap(limit) != limit && follows {
		p.log.Info("the limit of held bytes follows from the memory limit", slog.Int64(logkey.Max, limit))
	}
}

// memoryLimit is Go's, or else the machine's memory.
func memoryLimit() (bytes int64, known bool) {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit, true
	}
	return machineMemory()
}

// limitFor is how far s may fill the budget; 0: any far.
func (b *budget) limitFor(s *session) int64 {
	limit := b.max.Load()
	if s.broker.isOpen() {
		limit = int64(openPart * float64(limit))
	}
	return limit
}

// room takes n bytes from the budget if not more than limit are used then; 0: any number. A
// refusal takes none, not even for a moment: giving them back would wake the session that waits
// for room, which may be the one that was refused.
func (b *budget) room(limit, n int64) bool {
	for {
		used := b.used.Load()
		if limit > 0 && used+n > limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() {
		select {
		case b.freed <- struct{}{}:
		default:
		}
	}
}

// account counts the bytes held for one session. It is the [relay.Account] of both streams.
type account struct {
	s    *session
	held atomic.Int64 // bytes beside the buffers
}

// TryHold counts n more bytes as held for the session, which can do without them, if
// there is room. It does not wait.
func (a *account) TryHold(n int64) bool {
	return a.holdWithin(int64(spareablePart*float64(a.s.proxy.budget.max.Load())), n)
}

// holdWithin counts n more bytes as held for the session, if not more than limit are
// held then; 0: any number.
func (a *account) holdWithin(limit, n int64) bool {
	if n <= 0 {
		return true
	}
	b := &a.s.proxy.budget
	if a.held.Add(n) <= relay.FreeBytes {
		b.used.Add(n)
		return true
	}
	if b.room(limit, n) {
		return true
	}
	a.held.Add(-n)
	return false
}

// Hold counts n more bytes as held for the session, and has other sessions end where
// there is no room. The error says that this one comes first, or that none has made
// room in time.
func (a *account) Hold(n int64) error {
	b := &a.s.proxy.budget
	if a.holdWithin(b.limitFor(a.s), n) {
		return nil
	}
	timer := time.NewTimer(roomTimeout)
	defer timer.Stop()
	select {
	case b.line <- struct{}{}:
		defer func() { <-b.line }()
	case <-timer.C:
		return heldTooMuch(n)
	}
	b.waiting.Store(true)
	defer b.waiting.Store(false)
	for {
		if a.holdWithin(b.limitFor(a.s), n) {
			return nil
		}
		if !b.evict(a.s, n) {
			return heldTooMuch(n)
		}
		select {
		case <-b.freed:
		case <-timer.C:
			return heldTooMuch(n)
		}
	}
}

func heldTooMuch(n int64) *ended {
	return &ended{
		reason: HeldBytes,
		err:    fmt.Errorf("%d bytes more would have to be held", n),
		fix:    "raise limits.max_held_bytes if memory allows, or look at the clients of this source",
	}
}

// Release gives back what Hold has counted.
func (a *account) Release(n int64) {
	a.held.Add(-n)
	a.s.proxy.budget.give(n)
}

// holder is a session that holds bytes, as eviction sees it.
type holder struct {
	session *session
	held    int64
	early   bool
	source  netip.Addr
}

// evict ends the sessions that come first, until there will be room for n bytes. It
// reports whether s may wait for that: not if s is among the first itself. It makes
// some room beyond n, because it has to look at all sessions. The caller has the
// line.
func (b *budget) evict(s *session, n int64) bool {
	room := b.limitFor(s) - b.used.Load() + b.ending.Load()
	if room >= n { // others that were evicted are about to give it back
		return true
	}
	limit := b.max.Load()
	for _, first := range b.order(s, limit-int64(openPart*float64(limit))) {
		if first.session == s {
			return room >= n
		}
		first.session.evicted(first.held)
		if room += first.held; room >= n+limit/evictPart {
			break
		}
	}
	return room >= n
}

// order returns the sessions that hold anything, and s, the one that ends first in
// front. What s asks for does not count: one that holds little comes behind those
// that have held more for long.
func (b *budget) order(s *session, share int64) []holder {
	all := []holder{{session: s, held: s.account.held.Load(), early: s.isEarly(), source: s.client.addr()}}
	for _, other := range b.proxy.live() {
		if held := other.account.held.Load(); other != s && held > relay.FreeBytes && other.life.ended() == nil {
			all = append(all, holder{session: other, held: held, early: other.isEarly(), source: other.client.addr()})
		}
	}
	inOrder(all, share)
	return all
}

// inOrder sorts holders, the one that ends first in front: the largest one of the
// source that holds most. Those that have no broker or no login yet come first if
// they hold more than their share, and otherwise last.
func inOrder(all []holder, share int64) {
	type class struct {
		early  bool
		source netip.Addr
	}
	var early int64
	sums := map[class]int64{}
	for _, h := range all {
		sums[class{h.early, h.source}] += h.held
		if h.early {
			early += h.held
		}
	}
	slices.SortFunc(all, func(x, y holder) int {
		if x.early != y.early {
			if x.early == (early > share) {
				return -1
			}
			return 1
		}
		return cmp.Or(
			cmp.Compare(sums[class{y.early, y.source}], sums[class{x.early, x.source}]),
			x.source.Compare(y.source),
			cmp.Compare(y.held, x.held),
		)
	})
}

// isEarly reports whether the client has not shown yet that it may be here: it has
// no broker, or the cluster wants a login that has not passed through.
func (s *session) isEarly() bool {
	if !s.broker.isOpen() {
		return true
	}
	l := s.endpoint.listener
	return l.conf().users == nil && s.way().Method() == nil && !s.broker.passedLogin.Load() && l.cluster.WantsLogin()
}

// evicted ends the session for another one that needs its held bytes.
func (s *session) evicted(held int64) {
	if !s.life.note(&ended{
		reason: HeldBytes,
		err:    fmt.Errorf("it held %d bytes when there was no room for more", held),
		fix:    "raise limits.max_held_bytes if memory allows, or look at the clients of this source",
		frees:  held,
	}) {
		return // it ends for another reason, and gives its held bytes back
	}
	s.proxy.budget.ending.Add(held)
	s.stopReaching(s.life.ended())
	relay.CloseByReset(s.client.conn)
	s.broker.closeNow()
	s.proxy.parked.wake(s)
}

// ForceHold counts n more bytes as held for the session, whatever the budget says.
func (a *account) ForceHold(n int64) {
	a.held.Add(n)
	a.s.proxy.budget.used.Add(n)
}

// HoldTimedOut ends the session: a frame that has to be whole was not, within the limit.
func (a *account) HoldTimedOut(limit time.Duration) {
	a.s.life.note(&ended{
		reason: HoldTimeout,
		err:    fmt.Errorf("%w: %s", errHoldTimeout, limit),
		fix:    "look at the network on the way, or at the program that sends so slowly",
	})
}

var errHoldTimeout = errors.New("a frame that has to be whole did not come in time")

// keep gives both pipes their keepers.
func (s *session) keep() {
	if s.up.Keeper == nil {
		s.up.Keeper = &relay.Keeper{Holding: relay.Holding{Account: &s.account, Limit: s.proxy.conf().FirstRequestTimeout, Source: s.client.conn}}
		s.down.Keeper = &relay.Keeper{Holding: relay.Holding{Account: &s.account, Limit: holdTimeout}}
		s.up.Keeper.Turn.Places, s.down.Keeper.Turn.Places = s.proxy.turns, s.proxy.turns
	}
	s.down.Keeper.Holding.Source = s.broker.conn
}

// heldBytes returns the bytes that are held for all clients now, and their limit. The limit
// is 0 before Start.
func (p *Proxy) heldBytes() (used, limit int64) {
	return p.budget.used.Load(), p.budget.max.Load()
}
