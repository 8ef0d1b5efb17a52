package proxy

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"kproxy/internal/cluster"
)

// Snapshot has the counts of a Proxy since it was made, and the numbers of its open
// connections. Counts only grow from one Snapshot to the next. A count that has stayed 0 may
// be missing.
type Snapshot struct {
	Clusters []ClusterStats // in the order of the configuration

	HeldBytes    int64 // held for all clients at the moment, beside their buffers
	MaxHeldBytes int64 // the limit of it; 0 before Start

	Waiting int64 // sessions that wait for their turn to work: a TLS handshake, a first request, a whole frame
	// SplicesHidden is the number of directions of sessions that copy because splice did not find
	// bytes that had come: another program of the machine has the socket in an eBPF sockmap.
	SplicesHidden int64
	// SplicesRefused is the number of directions of sessions that copy because the system refuses
	// to splice them, as sandboxes do.
	SplicesRefused int64
	AcceptPauses   int64 // how often a listening socket has stopped accepting because too many wait
}

// ClusterStats is about one cluster.
type ClusterStats struct {
	Name       string
	Up         bool      // see ClusterHealth
	LastAnswer time.Time // zero: none yet
	Brokers    int       // nodes known
	Dials      []cluster.DialCount
	MapChanges []cluster.MapChangeCount // all kinds, also those with 0
	TLS        *TLSStats                // nil: the brokers are spoken to in plaintext
	Listeners  []ListenerStats          // in the order of the configuration
}

// ListenerStats is about one listener. Opened is the sum of Active and Closed.
type ListenerStats struct {
	Name string
	TLS  *TLSStats // nil: clients speak plaintext
	// UsersStale says that the users file has changed and cannot be used, so that the users from before may log in;
	// nil: the listener has no users.
	UsersStale *bool
	Opened     int64
	Active     []NodeCount
	Closed     []CloseCount

	Up, Down Direction // to the brokers, and to the clients

	Requests   []RequestCount
	Durations  []DurationStats
	Addresses  []AddressStats
	HiddenAPIs []APICount
	Refused    []APICount // requests that the listener's apis refuse
	Routing    []RoutingCount
	// TransactionsLowered counts ApiVersions responses of a cluster whose
	// transactions this build does not know.
	TransactionsLowered int64
}

// NodeCount counts by the node whose endpoint the client chose: NoNode for a
// bootstrap endpoint, UnknownNode for one whose node is not known yet.
type NodeCount struct {
	Node  int32
	Count int64
}

// CloseCount counts sessions that have ended alike.
type CloseCount struct {
	Closing
	Count int64
}

// Direction is the traffic in one direction, of all sessions since the start.
type Direction struct {
	Frames  int64 // requests, or brokers' responses to them, that were begun
	Copied  int64 // bytes written from a buffer
	Spliced int64 // bytes written that only the kernel has seen
	Misses  int64 // how often bytes were copied because all of Config.SplicePipes were in use, or a connection refused
}

// RequestCount counts requests, also those without a response.
type RequestCount struct {
	Key     int16 // Other for keys without a count of their own
	Version int16 // likewise
	Count   int64
}

// DurationStats are the durations of one API: from when a request's prefix has
// been read until its response's has. A fetch that waits for records counts in
// full, and a request with acks=0 not at all.
type DurationStats struct {
	Key     int16
	Buckets []int64 // one for each of DurationBounds, and one more
	Sum     time.Duration
}

// DurationBounds are the upper bounds of DurationStats.Buckets, the last one
// excepted, which has none.
func DurationBounds() []time.Duration { return slices.Clone(durationBounds[:]) }

// AddressStats counts the outcomes of the brokers' addresses in one API's responses.
type AddressStats struct {
	Key         int16
	Rewritten   int64
	Dropped     int64 // left out: the node has no endpoint
	Neutralised int64 // leader hints taken out: the new address did not fit
}

// APICount counts how often an API was hidden from an ApiVersions response, or requests of it.
type APICount struct {
	Key   int16
	Count int64
}

// Stats counts. It takes as long as going through all live sessions once.
func (p *Proxy) Stats() Snapshot {
	var snapshot Snapshot
	snapshot.HeldBytes, snapshot.MaxHeldBytes = p.heldBytes()
	snapshot.SplicesHidden = p.pipes.Hidden()
	snapshot.SplicesRefused, _ = p.pipes.Refused()
	snapshot.Waiting, snapshot.AcceptPauses = int64(p.waiters.Count()), p.pauses.count.Load()
	at := map[*listener]*ListenerStats{}
	for _, c := range p.clusters() {
		stats := c.stats()
		if c.Way().TLS() != nil {
			stats.TLS = tlsStats(c.Way().TLS().Status())
		}
		stats.Listeners = make([]ListenerStats, len(c.listeners()))
		for i, l := range c.listeners() {
			stats.Listeners[i] = l.counters.stats()
			stats.Listeners[i].Name = l.name
			if l.conf().tls != nil {
				stats.Listeners[i].TLS = tlsStats(l.conf().tls.Status())
			}
			if users := l.conf().users; users != nil {
				stats.Listeners[i].UsersStale = new(users.Refused() != nil)
			}
			at[l] = &stats.Listeners[i]
		}
		snapshot.Clusters = append(snapshot.Clusters, stats)
	}
	p.sessionStats(at)
	return snapshot
}

// sessionStats adds the counts by session. Those of opened, active and closed sessions are of one
// moment; the traffic of live sessions is read after it, without the lock that accepting needs.
func (p *Proxy) sessionStats(at map[*listener]*ListenerStats) {
	sums, live := p.sessionSums(at)
	for _, one := range live {
		if sum := sums[one.listener]; sum != nil { // a listener may have been removed
			sum.active[one.node]++
			sum.up.add(&one.session.up)
			sum.down.add(&one.session.down)
		}
	}
	for l, stats := range at {
		sum := sums[l]
		stats.Opened = sum.opened
		stats.Active = nodeCounts(sum.active)
		stats.Closed = closeCounts(sum.closed)
		stats.Up, stats.Down = sum.up.stats(), sum.down.stats()
	}
}

// sessionSum has the counts of one listener by session.
type sessionSum struct {
	totals

	active map[int32]int64 // by node
}

// liveSession is a counted session, with the fields that Proxy.mu guards.
type liveSession struct {
	session  *session
	listener *listener
	node     int32
}

// sessionSums returns the totals of the listeners, and the live sessions that are not in them.
func (p *Proxy) sessionSums(of map[*listener]*ListenerStats) (sums map[*listener]*sessionSum, live []liveSession) {
	sums = make(map[*listener]*sessionSum, len(of))
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range of {
		sum := &sessionSum{totals: l.totals, active: map[int32]int64{}}
		sum.closed = maps.Clone(l.totals.closed)
		sums[l] = sum
	}
	live = make([]liveSession, 0, len(p.sessions))
	for s := range p.sessions {
		if s.counted {
			live = append(live, liveSession{s, s.endpoint.listener, s.node.Load()})
		}
	}
	return sums, live
}

func nodeCounts(counts map[int32]int64) []NodeCount {
	var all []NodeCount
	for _, node := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, NodeCount{node, counts[node]})
	}
	return all
}

func closeCounts(counts map[Closing]int64) []CloseCount {
	var all []CloseCount
	for closing, n := range counts {
		all = append(all, CloseCount{closing, n})
	}
	slices.SortFunc(all, func(a, b CloseCount) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// stats reads the counts by frame.
func (c *counters) stats() ListenerStats {
	l := ListenerStats{TransactionsLowered: c.lowered.Load(), Routing: c.routing.counts()}
	for slot := range apiSlots {
		key := keyOf(slot, apiSlots)
		for v := range versionSlots {
			if n := c.requests[slot][v].Load(); n > 0 {
				l.Requests = append(l.Requests, RequestCount{key, keyOf(v, versionSlots), n})
			}
		}
		if d, ok := c.durations[slot].stats(key); ok {
			l.Durations = append(l.Durations, d)
		}
		fate := &c.addresses[slot]
		a := AddressStats{key, fate[fateRewritten].Load(), fate[fateDropped].Load(), fate[fateNeutralised].Load()}
		if a != (AddressStats{Key: key}) {
			l.Addresses = append(l.Addresses, a)
		}
		if n := c.hidden[slot].Load(); n > 0 {
			l.HiddenAPIs = append(l.HiddenAPIs, APICount{key, n})
		}
		if n := c.refused[slot].Load(); n > 0 {
			l.Refused = append(l.Refused, APICount{key, n})
		}
	}
	return l
}

// stats reads the histogram; ok is false while it is empty. Sum and Buckets may differ by the
// frames that are counted meanwhile.
func (h *histogram) stats(key int16) (d DurationStats, ok bool) {
	d = DurationStats{Key: key, Buckets: make([]int64, len(h.buckets)), Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		d.Buckets[i] = h.buckets[i].Load()
		ok = ok || d.Buckets[i] > 0
	}
	return d, ok
}
