package history

import (
	"maps"
	"slices"
)

// record is all that the history has of one number.
type record struct {
	number    int64
	client    *client
	partition int32 // AnyPartition: it is not known
	sum       uint32
	tx        *transaction // nil: none
	outcome   Outcome
	offset    int64 // where the acknowledgement says that it is; NoOffset: it does not say

	offsets   []int64 // where it was read, ascending
	committed bool    // a reader of committed records has read it
}

// chosen says where the record is, if the client was to choose: where it was acknowledged,
// or else where it was read first.
func (r *record) chosen(partition int32) {
	if r.partition == AnyPartition {
		r.partition = partition
	}
}

// required reports whether the record must be in the log and visible to every reader.
func (r *record) required() bool {
	return r.outcome == OK && (r.tx == nil || r.tx.outcome() == txCommitted)
}

// finding returns a finding about the record, with its offset if the acknowledgement has one.
func (r *record) finding(kind Kind, detail string) Finding {
	f := Finding{Kind: kind, Client: r.client.name, Partition: r.partition, Numbers: []int64{r.number}, Detail: detail}
	if r.offset >= 0 {
		f.Offsets = []int64{r.offset}
	}
	return f
}

// transaction is one transaction of a producer.
type transaction struct {
	client  *client
	id      int64
	records []*record
	commit  bool    // its commit was invoked
	ended   Outcome // of its end
}

type txOutcome int

const (
	txAborted txOutcome = iota
	txUnknown
	txCommitted
)

// outcome is the transaction's outcome. One whose commit was never invoked, or has
// certainly failed, cannot be committed.
func (t *transaction) outcome() txOutcome {
	switch {
	case !t.commit || t.ended == Fail:
		return txAborted
	case t.ended == OK:
		return txCommitted
	default:
		return txUnknown
	}
}

// seen reports whether a reader of committed records has read a part of it.
func (t *transaction) seen() bool {
	return slices.ContainsFunc(t.records, func(r *record) bool { return r.committed })
}

// client is a producer or a reader.
type client struct {
	name string
	join Event
	sent []*record // in the order of invocation
	txs  map[int64]*transaction
}

// strict reports whether the protocol guarantees that each of the producer's records
// is in the log once, and in order.
func (c *client) strict() bool {
	return c.join.Guarantee == Idempotent || c.join.Guarantee == Transactional
}

// partition is a partition's log, as far as it was read.
type partition struct {
	id     int32
	read   map[int64][]sighting // by offset
	sorted []int64              // the keys of read
	last   int64                // the highest of them; NoOffset: none
	// The ends of final reads, NoOffset: there was none.
	final, finalCommitted int64
}

// sighting is that a reader has read a number at an offset.
type sighting struct {
	number int64
	reader string
}

// between are the offsets from low on and below high where something was read.
func (p *partition) between(low, high int64) []int64 {
	from, _ := slices.BinarySearch(p.sorted, low)
	to, _ := slices.BinarySearch(p.sorted, max(low, high))
	return p.sorted[from:to]
}

// checker is an indexed history.
type checker struct {
	h          History
	clients    map[string]*client
	records    map[int64]*record
	partitions map[int32]*partition
	order      []*record       // all records, in the order of invocation
	commits    map[string]bool // the groups whose commits were recorded
	counts     Counts
	findings   []Finding
}

func index(h History) *checker {
	c := &checker{h: h, clients: map[string]*client{}, records: map[int64]*record{}, partitions: map[int32]*partition{}, commits: map[string]bool{}}
	for i := range h.Events {
		c.produced(&h.Events[i])
	}
	for i := range h.Events { // a poll may come before its record's acknowledgement, or its own send in another process
		c.seen(&h.Events[i])
	}
	for _, p := range c.partitions {
		p.sorted = slices.Sorted(maps.Keys(p.read))
		if n := len(p.sorted); n > 0 {
			p.last = p.sorted[n-1]
		}
	}
	for _, r := range c.order {
		slices.Sort(r.offsets)
		r.offsets = slices.Compact(r.offsets)
	}
	c.count()
	return c
}

func (c *checker) client(name string) *client {
	if c.clients[name] == nil {
		c.clients[name] = &client{name: name, txs: map[int64]*transaction{}}
	}
	return c.clients[name]
}

func (c *checker) partition(id int32) *partition {
	if c.partitions[id] == nil {
		c.partitions[id] = &partition{id: id, read: map[int64][]sighting{}, last: NoOffset, final: NoOffset, finalCommitted: NoOffset}
	}
	return c.partitions[id]
}

func (c *client) transaction(id int64) *transaction {
	if c.txs[id] == nil {
		c.txs[id] = &transaction{client: c, id: id}
	}
	return c.txs[id]
}

// produced takes in the events of producers.
func (c *checker) produced(e *Event) {
	k := c.client(e.Client)
	switch e.Type {
	case Join:
		k.join = *e
	case Send:
		r := &record{number: e.Number, client: k, partition: e.Partition, sum: e.Sum, outcome: Unknown, offset: NoOffset}
		if e.Tx != 0 {
			r.tx = k.transaction(e.Tx)
			r.tx.records = append(r.tx.records, r)
		}
		if e.Partition != AnyPartition {
			c.partition(e.Partition)
		}
		k.sent = append(k.sent, r)
		c.order = append(c.order, r)
		c.records[e.Number] = r
	case Sent:
		if r := c.records[e.Number]; r != nil {
			r.outcome = e.Outcome
			if e.Outcome == OK {
				r.offset = e.Offset
				r.chosen(e.Partition)
			}
		}
	case Commit:
		c.commits[e.Group] = true
	case Begin:
		k.transaction(e.Tx)
	case End:
		k.transaction(e.Tx).commit = e.Commit
	case Ended:
		k.transaction(e.Tx).ended = e.Outcome
	default: // seen takes it
	}
}

// seen takes in the polls of readers.
func (c *checker) seen(e *Event) {
	switch e.Type {
	case Poll:
		p, committed := c.partition(e.Partition), c.client(e.Client).join.Committed
		for i, offset := range e.Offsets {
			number := e.Numbers[i]
			p.read[offset] = append(p.read[offset], sighting{number, e.Client})
			r := c.records[number]
			if r == nil {
				continue
			}
			if r.chosen(e.Partition); r.partition == e.Partition {
				r.offsets = append(r.offsets, offset)
				r.committed = r.committed || committed
			}
		}
	case Final:
		p := c.partition(e.Partition)
		p.final = max(p.final, e.Offset)
		if c.client(e.Client).join.Committed {
			p.finalCommitted = max(p.finalCommitted, e.Offset)
		}
	default: // produced has taken it
	}
}

func (c *checker) count() {
	n := &c.counts
	n.Clients, n.Sent = len(c.clients), len(c.order)
	for _, r := range c.order {
		switch r.outcome {
		case OK:
			n.Acked++
		case Fail:
			n.Failed++
		case Unknown:
			n.Unknown++
			if len(r.offsets) > 0 {
				n.UnknownRead++
			}
		}
	}
	for _, k := range c.clients {
		for _, t := range k.txs {
			switch t.outcome() {
			case txCommitted:
				n.TxCommitted++
			case txAborted:
				n.TxAborted++
			case txUnknown:
				n.TxUnknown++
			}
		}
	}
	for i := range c.h.Events {
		switch e := &c.h.Events[i]; e.Type {
		case Poll:
			n.Polls++
			n.Read += len(e.Offsets)
		case Assign:
			if c.client(e.Client).join.Group != "" {
				n.Rebalances++
			}
		case Committed:
			n.Commits++
		case Fetched:
			n.Fetches++
		default:
		}
	}
}

func (c *checker) find(f Finding) { c.findings = append(c.findings, f) }
