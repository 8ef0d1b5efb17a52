package history

import "time"

// story makes a history by hand. Each event is a millisecond after the one before.
type story struct{ h History }

func (s *story) add(e Event) {
	e.At = time.Duration(len(s.h.Events)) * time.Millisecond
	s.h.Events = append(s.h.Events, e)
}

// newStory has a producer of each guarantee, a reader and a reader of committed records
// that are given the first two partitions, and the members a and b of the group g.
func newStory() *story {
	s := &story{}
	for _, g := range []Guarantee{Acks, Idempotent, Transactional} {
		s.add(Event{Type: Join, Client: string(g), Guarantee: g})
	}
	s.add(Event{Type: Join, Client: "all"})
	s.add(Event{Type: Join, Client: "committed", Committed: true})
	for _, reader := range []string{"all", "committed"} {
		s.add(Event{Type: Seek, Client: reader, Partition: 0})
		s.add(Event{Type: Seek, Client: reader, Partition: 1})
	}
	s.add(Event{Type: Join, Client: "a", Group: "g", Committed: true})
	s.add(Event{Type: Join, Client: "b", Group: "g", Committed: true})
	return s
}

func sumOf(number int64) uint32 { return uint32(number) * 7 }

func (s *story) send(client string, partition int32, number int64) {
	s.add(Event{Type: Send, Client: client, Partition: partition, Number: number, Sum: sumOf(number)})
}

func (s *story) sent(client string, number int64, outcome Outcome, offset int64) {
	s.add(Event{Type: Sent, Client: client, Number: number, Outcome: outcome, Offset: offset})
}

// acked is a record to partition 0 that is acknowledged.
func (s *story) acked(client string, number, offset int64) {
	s.send(client, 0, number)
	s.sent(client, number, OK, offset)
}

// tx is a transaction of records in partition 0 with these numbers, from an offset on.
func (s *story) tx(id int64, commit bool, outcome Outcome, offset int64, numbers ...int64) {
	s.add(Event{Type: Begin, Client: "transactional", Tx: id})
	for i, number := range numbers {
		s.add(Event{Type: Send, Client: "transactional", Number: number, Sum: sumOf(number), Tx: id})
		s.sent("transactional", number, OK, offset+int64(i))
	}
	s.add(Event{Type: End, Client: "transactional", Tx: id, Commit: commit})
	s.add(Event{Type: Ended, Client: "transactional", Tx: id, Outcome: outcome})
}

// poll has pairs of an offset and a number.
func (s *story) poll(client string, partition int32, pairs ...int64) {
	e := Event{Type: Poll, Client: client, Partition: partition}
	for i := 0; i < len(pairs); i += 2 {
		e.Offsets, e.Numbers, e.Sums = append(e.Offsets, pairs[i]), append(e.Numbers, pairs[i+1]), append(e.Sums, sumOf(pairs[i+1]))
	}
	s.add(e)
}

// both has both readers poll the same of partition 0, until its end.
func (s *story) both(end int64, pairs ...int64) {
	for _, reader := range []string{"all", "committed"} {
		s.poll(reader, 0, pairs...)
		s.final(reader, 0, end)
	}
}

func (s *story) final(client string, partition int32, end int64) {
	s.add(Event{Type: Final, Client: client, Partition: partition, Offset: end})
}

func (s *story) assign(client string, partitions ...int32) {
	s.add(Event{Type: Assign, Client: client, Partitions: partitions})
}

func (s *story) revoke(client string, partitions ...int32) {
	s.add(Event{Type: Revoke, Client: client, Partitions: partitions})
}

// commit is a commit of the group's offset of partition 0.
func (s *story) commit(client string, op, offset int64, outcome Outcome) {
	s.add(Event{Type: Commit, Client: client, Group: "g", Op: op, Offset: offset})
	s.add(Event{Type: Committed, Client: client, Op: op, Outcome: outcome})
}

// fetch reads the group's offset of partition 0.
func (s *story) fetch(op, offset int64) {
	s.add(Event{Type: Fetch, Client: "watch", Group: "g", Op: op})
	s.add(Event{Type: Fetched, Client: "watch", Op: op, Outcome: OK, Offset: offset})
}
