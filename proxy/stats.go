package proxy

import (
	"sync/atomic"
	"time"

	"kproxy/internal/relay"
	"kproxy/rewrite"
)

// Each count by frame is an atomic in a fixed array: no map, no lock, no allocation. Every
// listener has its own, so that listeners do not wait for each other's cache lines. The bytes
// of a connection are counted in its streams, and Stats adds them up.

const (
	// Other stands for all API keys that have no counters of their own, and for
	// all such versions. A test holds that everything known to this build has
	// some.
	Other = -1

	apiSlots     = 128 // keys 0 to 126, and the others
	versionSlots = 32  // versions 0 to 30, and the others
)

// counters are the counts of one listener by frame.
type counters struct {
	requests  [apiSlots][versionSlots]atomic.Int64
	durations [apiSlots]histogram
	addresses [apiSlots][fates]atomic.Int64
	hidden    [apiSlots]atomic.Int64
	refused   [apiSlots]atomic.Int64
	routing   routing
	lowered   atomic.Int64 // ApiVersions responses with Notes.TxnLowered
}

// slotOf is the place of n among size places; the last one is for all others.
func slotOf(n int16, size int) int {
	if n < 0 || int(n) >= size-1 {
		return size - 1
	}
	return int(n)
}

// keyOf is the opposite of slotOf; Other for the last place.
func keyOf(slot, size int) int16 {
	if slot == size-1 {
		return Other
	}
	return int16(slot)
}

func (c *counters) request(key, version int16) {
	c.requests[slotOf(key, apiSlots)][slotOf(version, versionSlots)].Add(1)
}

// hides reports whether an API was left out of an ApiVersions response.
func (c *counters) hides(key int16) bool { return c.hidden[slotOf(key, apiSlots)].Load() > 0 }

func (c *counters) answered(key int16, took time.Duration) {
	c.durations[slotOf(key, apiSlots)].add(took)
}

// rewrote counts the outcomes of the addresses, or APIs, of one response.
func (c *counters) rewrote(key int16, notes rewrite.Notes) {
	addresses := &c.addresses[slotOf(key, apiSlots)]
	kept := fateRewritten
	if notes.Neutralised {
		kept = fateNeutralised
	}
	addresses[kept].Add(int64(notes.Named - notes.Dropped))
	addresses[fateDropped].Add(int64(notes.Dropped))
	for _, key := range notes.Hidden {
		c.hidden[slotOf(key, apiSlots)].Add(1)
	}
	if notes.TxnLowered {
		c.lowered.Add(1)
	}
}

// fate is the outcome of an address in a response.
type fate int

const (
	fateRewritten   fate = iota // replaced by that of the node's endpoint
	fateDropped                 // left out: the node has no endpoint
	fateNeutralised             // a leader hint taken out: the new address did not fit the bytes
	fates
)

// durationBounds are the upper bounds of the histogram's buckets; above the last
// one there is one bucket more. Produce and Metadata live in the lower half;
// fetches that wait for records (fetch.max.wait.ms, 500 ms by default) and groups
// that rebalance in the upper one.
var durationBounds = [...]time.Duration{
	500 * time.Microsecond,
	time.Millisecond,
	2500 * time.Microsecond,
	5 * time.Millisecond,
	10 * time.Millisecond,
	25 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	500 * time.Millisecond,
	time.Second,
	2500 * time.Millisecond,
	5 * time.Second,
	10 * time.Second,
	30 * time.Second,
	60 * time.Second,
}

// histogram counts durations by size.
type histogram struct {
	buckets [len(durationBounds) + 1]atomic.Int64
	sum     atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(durationBounds) && d > durationBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// totals are the counts of one listener by session. Proxy.mu guards them together with the
// set of live sessions, so that opened = active + closed at every moment.
type totals struct {
	opened   int64
	closed   map[Closing]int64
	up, down moved // by sessions that are closed
}

// Closing is how sessions with the same node end.
type Closing struct {
	Node   int32 // as in NodeCount
	Reason CloseReason
}

// moved is the traffic in one direction.
type moved struct{ copied, spliced, misses, frames int64 }

// add adds what p has moved.
func (m *moved) add(p *relay.Stream) {
	m.copied += p.Copied.Load()
	m.spliced += p.Spliced.Load()
	m.misses += p.Misses.Load()
	m.frames += p.Frames.Load()
}

func (m moved) stats() Direction {
	return Direction{Frames: m.frames, Copied: m.copied, Spliced: m.spliced, Misses: m.misses}
}

// enter takes a session into the set of live ones. The caller holds mu.
func (p *Proxy) enter(s *session) {
	p.youngest++
	p.sessions[s] = attendance{id: p.youngest}
	if !s.entry.shared {
		s.count()
	}
}

// count counts a session as opened, once it is known whose it is. That of a listener that is
// removed drains. The caller holds Proxy.mu.
func (s *session) count() {
	l := s.endpoint.listener
	if !s.counted {
		s.counted = true
		l.totals.opened++
	}
	if l.removed {
		s.life.leave(askDrain)
	}
}

// leave takes a session that moves nothing any more out of it.
func (p *Proxy) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit := p.sessions[s].limit; limit != nil {
		limit.Stop()
	}
	delete(p.sessions, s)
	s.count() // of an acceptor's first listener, where it is still not known whose it is
	t := &s.endpoint.listener.totals
	t.close(Closing{s.node.Load(), s.life.ended().reason})
	t.up.add(&s.up)
	t.down.add(&s.down)
}

// turnAway counts a connection that was never served: it was opened, and closed.
func (p *Proxy) turnAway(l *listener, reason CloseReason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.totals.opened++
	l.totals.close(Closing{NoNode, reason})
}

// maxClosedCounts bounds the counters of ends of a listener's sessions: a cluster may name ever
// new nodes.
const maxClosedCounts = 20_000

func (t *totals) close(how Closing) {
	if t.closed == nil {
		t.closed = map[Closing]int64{}
	}
	if _, has := t.closed[how]; !has && len(t.closed) >= maxClosedCounts {
		how.Node = UnknownNode
	}
	t.closed[how]++
}
