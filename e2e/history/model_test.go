package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// model is a small Kafka in memory that makes correct histories: partitions with
// transactions and control records, producers whose acknowledgements get lost, readers
// by assignment and a group of two that rebalances and commits.
type model struct {
	*rand.Rand
	events []Event
	now    time.Duration
	logs   [modelPartitions][]slot
	number int64
	op     int64

	txs       map[int64]Outcome // committed (OK) or aborted (Fail), by id
	owner     [modelPartitions]string
	position  map[string]map[int32]int64
	committed [modelPartitions]int64
}

const modelPartitions = 2

// slot is an offset of a log.
type slot struct {
	number  int64 // NoNumber: a control record
	tx      int64
	pending bool // its transaction has not ended
}

func newModel(seed uint64) *model {
	m := &model{Rand: rand.New(rand.NewPCG(seed, 1)), txs: map[int64]Outcome{}, position: map[string]map[int32]int64{}}
	for _, g := range []Guarantee{Acks, Idempotent, Transactional} {
		m.add(Event{Type: Join, Client: string(g), Guarantee: g})
	}
	m.reader("all", false)
	m.reader("committed", true)
	for _, member := range []string{"a", "b"} {
		m.add(Event{Type: Join, Client: member, Group: "g", Committed: true})
		m.position[member] = map[int32]int64{}
	}
	for p := range m.committed {
		m.committed[p] = NoOffset
	}
	return m
}

func (m *model) reader(name string, committed bool) {
	m.add(Event{Type: Join, Client: name, Committed: committed})
	m.position[name] = map[int32]int64{}
	for p := range int32(modelPartitions) {
		m.add(Event{Type: Seek, Client: name, Partition: p})
	}
}

func (m *model) add(e Event) {
	m.now += time.Duration(1 + m.IntN(1000))
	e.At = m.now
	m.events = append(m.events, e)
}

// run makes a history of this many steps.
func (m *model) run(steps int) History {
	for range steps {
		switch m.IntN(8) {
		case 0, 1:
			m.produce(Acks)
		case 2, 3:
			m.produce(Idempotent)
		case 4:
			m.transaction()
		case 5:
			m.poll([]string{"all", "committed", "a", "b"}[m.IntN(4)])
		case 6:
			m.rebalance()
		case 7:
			m.commit()
		}
	}
	// Each partition has two readable records at least, and the last is one.
	for p := range int32(modelPartitions) {
		for range 2 {
			m.append(Idempotent, p, 0, OK)
		}
	}
	m.final("final", false)
	m.final("final-committed", true)
	return History{Events: m.events}
}

func (m *model) produce(g Guarantee) {
	p := int32(m.IntN(modelPartitions))
	switch m.IntN(10) {
	case 0:
		m.send(g, p, 0)
		m.add(Event{Type: Sent, Client: string(g), Number: m.number, Outcome: Fail})
	case 1:
		m.append(g, p, 0, Unknown)
	case 2:
		m.send(g, p, 0) // it was not written, and there is no response
	default:
		m.append(g, p, 0, OK)
		if g == Acks && m.IntN(5) == 0 {
			m.logs[p] = append(m.logs[p], slot{number: m.number}) // a retry
		}
	}
}

func (m *model) send(g Guarantee, p int32, tx int64) {
	m.number++
	m.add(Event{Type: Send, Client: string(g), Number: m.number, Partition: p, Sum: sumOf(m.number), Tx: tx})
}

func (m *model) append(g Guarantee, p int32, tx int64, outcome Outcome) {
	m.send(g, p, tx)
	m.logs[p] = append(m.logs[p], slot{number: m.number, tx: tx, pending: tx != 0})
	e := Event{Type: Sent, Client: string(g), Number: m.number, Outcome: outcome}
	if outcome == OK {
		e.Offset = int64(len(m.logs[p]) - 1)
	}
	m.add(e)
}

func (m *model) transaction() {
	id := int64(len(m.txs) + 1)
	m.add(Event{Type: Begin, Client: string(Transactional), Tx: id})
	touched := map[int32]bool{}
	for range 1 + m.IntN(4) {
		p := int32(m.IntN(modelPartitions))
		touched[p] = true
		m.append(Transactional, p, id, OK)
		if m.IntN(4) == 0 {
			m.poll([]string{"all", "committed"}[m.IntN(2)])
		}
	}
	asked, done, told := m.IntN(3) > 0, m.IntN(2) == 0, OK
	if m.IntN(4) == 0 {
		told = Unknown
	} else {
		done = asked
	}
	done = done && asked
	m.add(Event{Type: End, Client: string(Transactional), Tx: id, Commit: asked})
	m.txs[id] = Fail
	if done {
		m.txs[id] = OK
	}
	for p := range touched {
		for i := range m.logs[p] {
			m.logs[p][i].pending = m.logs[p][i].pending && m.logs[p][i].tx != id
		}
		m.logs[p] = append(m.logs[p], slot{number: NoNumber})
	}
	m.add(Event{Type: Ended, Client: string(Transactional), Tx: id, Outcome: told})
}

// poll reads a few records of each partition that the reader has.
func (m *model) poll(reader string) {
	for p := range int32(modelPartitions) {
		if reader == "a" || reader == "b" {
			if m.owner[p] != reader {
				continue
			}
		}
		m.read(reader, p, 1+m.IntN(6), reader != "all")
	}
}

func (m *model) read(reader string, p int32, most int, committed bool) {
	e := Event{Type: Poll, Client: reader, Partition: p}
	at := m.position[reader][p]
	for ; at < int64(len(m.logs[p])) && len(e.Offsets) < most; at++ {
		s := m.logs[p][at]
		if committed && s.pending {
			break
		}
		if s.number == NoNumber || committed && s.tx != 0 && m.txs[s.tx] != OK {
			continue
		}
		e.Offsets, e.Numbers, e.Sums = append(e.Offsets, at), append(e.Numbers, s.number), append(e.Sums, sumOf(s.number))
	}
	m.position[reader][p] = at
	if len(e.Offsets) > 0 {
		m.add(e)
	}
}

// rebalance gives each partition to a member, which begins at the commit.
func (m *model) rebalance() {
	for p := range int32(modelPartitions) {
		if m.owner[p] != "" {
			m.add(Event{Type: Revoke, Client: m.owner[p], Partitions: []int32{p}})
		}
		m.owner[p] = []string{"a", "b"}[m.IntN(2)]
		m.add(Event{Type: Assign, Client: m.owner[p], Partitions: []int32{p}})
		m.position[m.owner[p]][p] = max(0, m.committed[p])
	}
}

// commit commits a position, or reads the group's offset.
func (m *model) commit() {
	p := int32(m.IntN(modelPartitions))
	m.op++
	if m.IntN(2) == 0 {
		m.add(Event{Type: Fetch, Client: "watch", Group: "g", Partition: p, Op: m.op})
		m.add(Event{Type: Fetched, Client: "watch", Op: m.op, Outcome: OK, Offset: m.committed[p]})
		return
	}
	if m.owner[p] == "" {
		return
	}
	offset := m.position[m.owner[p]][p]
	m.add(Event{Type: Commit, Client: m.owner[p], Group: "g", Partition: p, Op: m.op, Offset: offset})
	outcome := []Outcome{OK, OK, OK, Unknown, Fail}[m.IntN(5)]
	if outcome == OK || outcome == Unknown && m.IntN(2) == 0 {
		m.committed[p] = offset
	}
	m.add(Event{Type: Committed, Client: m.owner[p], Op: m.op, Outcome: outcome})
}

func (m *model) final(name string, committed bool) {
	m.reader(name, committed)
	for p := range int32(modelPartitions) {
		m.read(name, p, len(m.logs[p]), committed)
		m.add(Event{Type: Final, Client: name, Partition: p, Offset: int64(len(m.logs[p]))})
	}
}

// plant puts one fault of a kind into a correct history. It reports false if the history
// has no place for it.
func plant(h *History, kind Kind, pick *rand.Rand) bool {
	c := index(*h)
	// victim is a required record with a later one in its partition, of a strict producer.
	var victims []*record
	for _, r := range c.order {
		if r.required() && r.client.strict() && len(r.offsets) > 0 && r.offset < c.partition(r.partition).last {
			victims = append(victims, r)
		}
	}
	if len(victims) == 0 {
		return false
	}
	victim := victims[pick.IntN(len(victims))]
	final := func(committed bool, p int32) *Event {
		return &h.Events[slices.IndexFunc(h.Events, func(e Event) bool {
			return e.Type == Poll && e.Partition == p && (e.Client == "final" && !committed || e.Client == "final-committed" && committed)
		})]
	}
	end := final(false, victim.partition)
	place := slices.Index(end.Numbers, victim.number)
	switch kind {
	case Incomplete:
		h.Dropped = 1
	case Lost:
		forget(h, victim)
	case Unseen:
		p := c.partition(victim.partition)
		forget(h, c.records[p.read[p.last][0].number]) // the last record is an idempotent one
	case Duplicate:
		insert(end, len(end.Offsets), c.partition(victim.partition).final, victim.number)
	case Reordered:
		return reorder(h, victim)
	case Torn:
		end.Sums = slices.Clone(end.Sums)
		end.Sums[place]++
	case Aborted:
		for _, r := range c.order {
			if r.outcome == Fail {
				p := final(false, r.partition)
				insert(p, len(p.Offsets), c.partition(r.partition).final, r.number)
				return true
			}
		}
		return false
	case Phantom:
		insert(end, len(end.Offsets), c.partition(victim.partition).final, 1<<40)
	case Inconsistent:
		end.Numbers = slices.Clone(end.Numbers)
		end.Numbers[place] = 1 << 40
	case Back:
		insert(end, len(end.Offsets), end.Offsets[0], end.Numbers[0])
	case Skipped:
		committed := final(true, victim.partition)
		place := slices.Index(committed.Numbers, victim.number)
		cut(committed, place)
	case Stale:
		e := Event{At: h.Events[len(h.Events)-1].At + 1, Type: Fetch, Client: "watch", Group: "g", Op: 1 << 40}
		h.Events = append(h.Events, e)
		e.Type, e.Group, e.Outcome, e.Offset, e.At = Fetched, "", OK, 1<<40, e.At+1
		h.Events = append(h.Events, e)
	default:
		panic(fmt.Sprint("no fault for ", kind))
	}
	return true
}

// forget takes a record out of every poll.
func forget(h *History, r *record) {
	for i := range h.Events {
		for e := &h.Events[i]; e.Type == Poll; {
			at := slices.Index(e.Numbers, r.number)
			if at < 0 {
				break
			}
			cut(e, at)
		}
	}
}

func cut(e *Event, at int) {
	e.Offsets = slices.Delete(slices.Clone(e.Offsets), at, at+1)
	e.Numbers = slices.Delete(slices.Clone(e.Numbers), at, at+1)
	e.Sums = slices.Delete(slices.Clone(e.Sums), at, at+1)
}

func insert(e *Event, at int, offset, number int64) {
	e.Offsets = slices.Insert(slices.Clone(e.Offsets), at, offset)
	e.Numbers = slices.Insert(slices.Clone(e.Numbers), at, number)
	e.Sums = slices.Insert(slices.Clone(e.Sums), at, sumOf(number))
}

// reorder has a record change places with a later one of its producer, in all events.
func reorder(h *History, r *record) bool {
	for _, later := range r.client.sent {
		if later.number <= r.number || later.partition != r.partition || len(later.offsets) != 1 || later.outcome != OK || later.tx != r.tx {
			continue
		}
		swap := map[int64]int64{r.number: later.number, later.number: r.number}
		offsets := map[int64]int64{r.number: later.offset, later.number: r.offset}
		for i := range h.Events {
			e := &h.Events[i]
			if at, ok := offsets[e.Number]; ok && e.Type == Sent {
				e.Offset = at
			}
			if e.Type != Poll {
				continue
			}
			e.Numbers, e.Sums = slices.Clone(e.Numbers), slices.Clone(e.Sums)
			for j, n := range e.Numbers {
				if other, ok := swap[n]; ok {
					e.Numbers[j], e.Sums[j] = other, sumOf(other)
				}
			}
		}
		return true
	}
	return false
}
