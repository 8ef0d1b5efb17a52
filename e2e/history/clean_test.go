package history

// clean are histories that look suspicious.
var clean = []struct {
	name string
	tell func(*story)
}{
	{"nothing", func(*story) {}},
	{"an unknown record was written", func(s *story) {
		s.send("idempotent", 0, 1)
		s.sent("idempotent", 1, Unknown, 0)
		s.acked("idempotent", 2, 1)
		s.both(2, 0, 1, 1, 2)
	}},
	{"an unknown record was not written", func(s *story) {
		s.send("idempotent", 0, 1)
		s.sent("idempotent", 1, Unknown, 0)
		s.send("idempotent", 0, 2) // its producer ended
		s.acked("idempotent", 3, 0)
		s.both(1, 0, 3)
	}},
	{"a record failed", func(s *story) {
		s.send("acks", 0, 1)
		s.sent("acks", 1, Fail, 0)
		s.both(0)
	}},
	{"a retry without idempotence is written twice, and late", func(s *story) {
		s.send("acks", 0, 1)
		s.send("acks", 0, 2)
		s.sent("acks", 1, OK, 1)
		s.sent("acks", 2, OK, 0)
		s.both(3, 0, 2, 1, 1, 2, 1)
	}},
	{"two producers interleave", func(s *story) {
		s.send("idempotent", 0, 1)
		s.send("acks", 0, 2)
		s.sent("idempotent", 1, OK, 1)
		s.sent("acks", 2, OK, 0)
		s.both(2, 0, 2, 1, 1)
	}},
	{"an acknowledgement names no offset", func(s *story) {
		s.acked("idempotent", 1, NoOffset)
		s.both(1, 0, 1)
	}},
	{"an aborted transaction", func(s *story) {
		s.tx(1, false, OK, 0, 1, 2)
		s.tx(2, true, OK, 3, 3)
		s.poll("all", 0, 0, 1, 1, 2, 3, 3)
		s.poll("committed", 0, 3, 3)
		s.final("all", 0, 5)
		s.final("committed", 0, 5)
	}},
	{"an abort of unknown outcome", func(s *story) {
		s.tx(1, false, Unknown, 0, 1)
		s.poll("all", 0, 0, 1)
		s.final("all", 0, 2)
		s.final("committed", 0, 2)
	}},
	{"a commit of unknown outcome that happened", func(s *story) {
		s.tx(1, true, Unknown, 0, 1, 2)
		s.both(3, 0, 1, 1, 2)
	}},
	{"a commit of unknown outcome that did not happen", func(s *story) {
		s.tx(1, true, Unknown, 0, 1, 2)
		s.poll("all", 0, 0, 1, 1, 2)
		s.final("all", 0, 3)
		s.final("committed", 0, 3)
	}},
	{"a transaction is read in two polls", func(s *story) {
		s.tx(1, true, OK, 0, 1, 2)
		s.both(3, 0, 1, 1, 2)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1)
		s.revoke("a", 0)
	}},
	{"a transaction is half read when the run ends", func(s *story) {
		s.tx(1, true, OK, 0, 1, 2)
		s.poll("all", 0, 0, 1, 1, 2)
		s.final("all", 0, 3)
		s.poll("committed", 0, 0, 1)
	}},
	{"control records leave gaps", func(s *story) {
		s.tx(1, true, OK, 0, 1)
		s.tx(2, true, OK, 2, 2)
		s.both(4, 0, 1, 2, 2)
	}},
	{"a poll is recorded before the acknowledgement", func(s *story) {
		s.send("acks", 0, 1)
		s.both(1, 0, 1)
		s.sent("acks", 1, OK, 0)
	}},
	{"a rebalance moves a member back to the commit", func(s *story) {
		for number := int64(1); number <= 3; number++ {
			s.acked("acks", number, number-1)
		}
		s.assign("a", 0)
		s.poll("a", 0, 0, 1, 1, 2, 2, 3)
		s.commit("a", 1, 1, OK)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 1, 2, 2, 3)
		s.fetch(1, 1)
		s.both(3, 0, 1, 1, 2, 2, 3)
	}},
	{"a commit of unknown outcome did not happen", func(s *story) {
		for number := int64(1); number <= 2; number++ {
			s.acked("acks", number, number-1)
		}
		s.assign("a", 0)
		s.poll("a", 0, 0, 1, 1, 2)
		s.commit("a", 1, 1, OK)
		s.commit("a", 2, 2, Unknown)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 1, 2)
		s.fetch(1, 1)
		s.both(2, 0, 1, 1, 2)
	}},
	{"a commit of unknown outcome happens late", func(s *story) {
		s.commit("a", 1, 1, OK)
		s.commit("a", 2, 2, Unknown)
		s.fetch(1, 1)
		s.fetch(2, 2)
	}},
	{"a fetch while a commit is under way", func(s *story) {
		s.add(Event{Type: Commit, Client: "a", Group: "g", Op: 1, Offset: 5})
		s.fetch(1, 5)
		s.fetch(2, 5)
		s.add(Event{Type: Committed, Client: "a", Op: 1, Outcome: OK})
	}},
	{"a commit that failed", func(s *story) {
		s.acked("acks", 1, 0)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1)
		s.commit("a", 1, 1, Fail)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 0, 1)
		s.fetch(1, NoOffset)
		s.both(1, 0, 1)
	}},
	{"the client chooses the partition", func(s *story) {
		s.send("idempotent", AnyPartition, 1)
		s.sent("idempotent", 1, Unknown, 0)
		s.send("idempotent", AnyPartition, 2)
		s.add(Event{Type: Sent, Client: "idempotent", Number: 2, Outcome: OK, Partition: 1})
		s.send("idempotent", AnyPartition, 3) // it was not written
		s.poll("all", 1, 0, 2)
		s.final("all", 1, 1)
		s.both(1, 0, 1)
	}},
	{"a member begins where commits that were not recorded say", func(s *story) {
		s.acked("acks", 1, 0)
		s.acked("acks", 2, 1)
		s.assign("a", 0)
		s.poll("a", 0, 0, 1)
		s.revoke("a", 0)
		s.assign("b", 0)
		s.poll("b", 0, 1, 2)
		s.both(2, 0, 1, 1, 2)
	}},
	{"a seek goes back and ahead", func(s *story) {
		for number := int64(1); number <= 3; number++ {
			s.acked("acks", number, number-1)
		}
		s.poll("all", 0, 0, 1)
		s.add(Event{Type: Seek, Client: "all", Offset: 2})
		s.poll("all", 0, 2, 3)
		s.add(Event{Type: Seek, Client: "all", Offset: 0})
		s.poll("all", 0, 0, 1, 1, 2, 2, 3)
		s.final("all", 0, 3)
	}},
}
