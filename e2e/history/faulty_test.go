package history

// faulty are histories with one fault, of one kind.
var faulty = []struct {
	name string
	want Kind
	tell func(*story)
}{
	{"an event was dropped", Incomplete, func(s *story) {
		s.h.Dropped = 1
	}},
	{"there is no final read", Incomplete, func(s *story) {
		s.acked("idempotent", 1, 0)
		s.poll("all", 0, 0, 1)
	}},
	{"a producer's guarantee is not known", Incomplete, func(s *story) {
		s.acked("stranger", 1, 0)
		s.both(1, 0, 1)
	}},
	{"a record is missing in the middle", Lost, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.acked("acks", 3, 2)
		s.both(3, 0, 1, 2, 3)
	}},
	{"the last record is missing", Unseen, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.both(1, 0, 1)
	}},
	{"a record without an offset is missing", Unseen, func(s *story) {
		s.acked("idempotent", 1, NoOffset)
		s.acked("idempotent", 2, 1)
		s.both(2, 1, 2)
	}},
	{"a retry of an idempotent producer is written twice", Duplicate, func(s *story) {
		s.acked("idempotent", 1, 0)
		s.both(2, 0, 1, 1, 1)
	}},
	{"a retry in a transaction is written twice", Duplicate, func(s *story) {
		s.tx(1, true, OK, 0, 1)
		s.both(3, 0, 1, 1, 1)
	}},
	{"two records change places", Reordered, func(s *story) {
		s.send("idempotent", 0, 1)
		s.send("idempotent", 0, 2)
		s.sent("idempotent", 1, OK, 1)
		s.sent("idempotent", 2, OK, 0)
		s.both(2, 0, 2, 1, 1)
	}},
	{"a record of unknown outcome comes late", Reordered, func(s *story) {
		s.send("idempotent", 0, 1)
		s.sent("idempotent", 1, Unknown, 0)
		s.acked("idempotent", 2, 0)
		s.both(2, 0, 2, 1, 1)
	}},
	{"a byte is changed", Torn, func(s *story) {
		s.acked("acks", 1, 0)
		s.both(1, 0, 1)
		s.h.Events[len(s.h.Events)-2].Sums[0]++
	}},
	{"a record cannot be read", Torn, func(s *story) {
		s.acked("acks", 1, 0)
		s.both(1, 0, NoNumber)
	}},
	{"a record in the middle cannot be read", Torn, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.both(2, 0, NoNumber, 1, 2)
	}},
	{"a part of a transaction of unknown outcome is seen", Torn, func(s *story) {
		s.tx(1, true, Unknown, 0, 1, 2)
		s.both(3, 0, 1)
	}},
	{"an aborted record is read", Aborted, func(s *story) {
		s.tx(1, false, OK, 0, 1)
		s.both(2, 0, 1)
	}},
	{"a record of a transaction that did not end is read", Aborted, func(s *story) {
		s.add(Event{Type: Begin, Client: "transactional", Tx: 1})
		s.add(Event{Type: Send, Client: "transactional", Number: 1, Sum: sumOf(1), Tx: 1})
		s.both(1, 0, 1)
	}},
	{"a record of a commit that failed is read", Aborted, func(s *story) {
		s.tx(1, true, Fail, 0, 1)
		s.both(2, 0, 1)
	}},
	{"a record that failed is read", Aborted, func(s *story) {
		s.send("acks", 0, 1)
		s.sent("acks", 1, Fail, 0)
		s.both(1, 0, 1)
	}},
	{"a record that was not sent is read", Phantom, func(s *story) {
		s.both(1, 0, 1)
	}},
	{"a record is in another partition", Phantom, func(s *story) {
		s.send("acks", 1, 1)
		s.sent("acks", 1, Unknown, 0)
		s.both(1, 0, 1)
		s.final("all", 1, 0)
	}},
	{"two readers see different records", Inconsistent, func(s *story) {
		for number := int64(1); number <= 2; number++ {
			s.send("acks", 0, number)
			s.sent("acks", number, Unknown, 0)
		}
		s.poll("all", 0, 0, 1)
		s.poll("committed", 0, 0, 2)
		s.final("all", 0, 1)
	}},
	{"two records are acknowledged at one offset", Inconsistent, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 0)
		s.both(1, 0, 1)
	}},
	{"another record is where one was acknowledged", Inconsistent, func(s *story) {
		s.acked("acks", 1, 0)
		s.send("acks", 0, 2)
		s.sent("acks", 2, Unknown, 0)
		s.both(2, 0, 2, 1, 1)
	}},
	{"a record is not where it was acknowledged", Inconsistent, func(s *story) {
		s.acked("acks", 1, 0)
		s.both(2, 1, 1)
	}},
	{"a poll goes back", Back, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.poll("all", 0, 0, 1, 1, 2)
		s.poll("all", 0, 1, 2)
		s.final("all", 0, 2)
	}},
	{"a poll has a record twice", Back, func(s *story) {
		s.acked("acks", 1, 0)
		s.both(1, 0, 1, 0, 1)
	}},
	{"a poll skips", Skipped, func(s *story) {
		for number := int64(1); number <= 3; number++ {
			s.acked("acks", number, number-1)
		}
		s.poll("all", 0, 0, 1, 1, 2, 2, 3)
		s.poll("committed", 0, 0, 1, 2, 3)
		s.final("all", 0, 3)
	}},
	{"a poll skips the first record", Skipped, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.poll("all", 0, 0, 1, 1, 2)
		s.poll("committed", 0, 1, 2)
		s.final("all", 0, 2)
	}},
	{"a poll skips a record of a transaction that turned out to be committed", Skipped, func(s *story) {
		s.tx(1, true, Unknown, 0, 1, 2)
		s.acked("acks", 3, 3)
		s.both(4, 0, 1, 1, 2, 3, 3)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1, 3, 3)
	}},
	{"a reader says that it is at the end, and is not", Skipped, func(s *story) {
		s.tx(1, true, OK, 0, 1)
		s.poll("all", 0, 0, 1)
		s.final("all", 0, 2)
		s.final("committed", 0, 2)
	}},
	{"a member begins behind the group's commit", Skipped, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.acked("acks", 3, 2)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1)
		s.commit("a", 1, 1, OK)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 2, 3)
		s.both(3, 0, 1, 1, 2, 2, 3)
	}},
	{"a group's offset goes back", Stale, func(s *story) {
		s.commit("a", 1, 1, OK)
		s.commit("a", 2, 2, OK)
		s.fetch(1, 2)
		s.fetch(2, 1)
	}},
	{"a group's offset is none that was committed", Stale, func(s *story) {
		s.commit("a", 1, 1, OK)
		s.fetch(1, 7)
	}},
	{"a commit that failed is fetched", Stale, func(s *story) {
		s.commit("a", 1, 1, Fail)
		s.fetch(1, 1)
	}},
	{"a commit is forgotten", Stale, func(s *story) {
		s.commit("a", 1, 1, OK)
		s.fetch(1, NoOffset)
	}},
	{"a member begins before the group's commit", Stale, func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1, 1, 2)
		s.commit("a", 1, 1, OK)
		s.commit("a", 2, 2, OK)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 1, 2)
		s.commit("b", 1, 1, OK)
		s.both(2, 0, 1, 1, 2)
	}},
}
