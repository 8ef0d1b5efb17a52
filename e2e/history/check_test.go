package history

import (
	"slices"
	"strings"
	"testing"
)

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
	{"a record is not in the partition that the client chose", Phantom, func(s *story) {
		s.send("acks", AnyPartition, 1)
		s.add(Event{Type: Sent, Client: "acks", Number: 1, Outcome: OK, Partition: 1, Offset: NoOffset})
		s.poll("all", 0, 0, 1)
		s.poll("committed", 1, 0, 1)
		s.final("all", 0, 1)
		s.final("all", 1, 0)
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

// TestFindings wants each fault to be found, nothing else beside it, and the rule of its
// kind to be what finds it.
func TestFindings(t *testing.T) {
	covered := map[Kind]bool{}
	for _, tt := range faulty {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory()
			tt.tell(s)
			r := Check(s.h)
			if len(r.Findings) == 0 {
				t.Errorf("findings: got none, want %v", tt.want)
			}
			for _, f := range r.Findings {
				if f.Kind != tt.want {
					t.Errorf("found %v: %v, want %v alone", f.Kind, f, tt.want)
				}
			}
			if check(s.h, tt.want).Has(tt.want) {
				t.Errorf("found %v without its rule", tt.want)
			}
		})
		covered[tt.want] = true
	}
	for _, row := range kinds {
		if !covered[row.kind] {
			t.Errorf("no history has the fault %v", row.kind)
		}
		if !slices.ContainsFunc(rules, func(r struct {
			kind Kind
			find func(*checker)
		},
		) bool {
			return r.kind == row.kind
		}) {
			t.Errorf("no rule finds %v", row.kind)
		}
	}
}

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

func TestSuspiciousButClean(t *testing.T) {
	for _, tt := range clean {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory()
			tt.tell(s)
			for _, f := range Check(s.h).Findings {
				t.Errorf("found %v: %v, want nothing", f.Kind, f)
			}
		})
	}
}

// TestAllowed wants what is allowed without idempotence to be counted.
func TestAllowed(t *testing.T) {
	s := newStory()
	s.send("acks", 0, 1)
	s.send("acks", 0, 2)
	s.sent("acks", 1, OK, 1)
	s.sent("acks", 2, Unknown, 0)
	s.both(3, 0, 2, 1, 1, 2, 1)
	got := Check(s.h).Counts
	if got.AllowedDuplicates != 1 || got.AllowedOutOfOrder != 1 || got.UnknownRead != 1 {
		t.Errorf("twice %d, out of order %d, unknown and read %d; want 1 each", got.AllowedDuplicates, got.AllowedOutOfOrder, got.UnknownRead)
	}
}

// TestTwoFindings has faults that are two at once.
func TestTwoFindings(t *testing.T) {
	for _, tt := range []struct {
		name string
		want [2]Kind
		tell func(*story)
	}{
		{"a part of a committed transaction is seen", [2]Kind{Unseen, Torn}, func(s *story) {
			s.tx(1, true, OK, 0, 1, 2)
			s.both(3, 0, 1)
		}},
		{"a record moved to another partition", [2]Kind{Lost, Phantom}, func(s *story) {
			s.send("acks", 1, 1)
			s.sent("acks", 1, OK, 0)
			s.send("acks", 1, 2)
			s.sent("acks", 2, OK, 1)
			s.poll("all", 1, 1, 2)
			s.final("all", 1, 2)
			s.both(1, 0, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory()
			tt.tell(s)
			r := Check(s.h)
			if len(r.Findings) != 2 || r.Findings[0].Kind != tt.want[0] || r.Findings[1].Kind != tt.want[1] {
				t.Errorf("found %v, want %v", r.Findings, tt.want)
			}
		})
	}
}

// TestEvidence wants what a finding says to be what is wrong.
func TestEvidence(t *testing.T) {
	s := newStory()
	s.acked("idempotent", 1, 0)
	s.both(2, 0, 1, 1, 1)
	want := Finding{Kind: Duplicate, Client: "idempotent", Offsets: []int64{0, 1}, Numbers: []int64{1}}
	if got := Check(s.h).Findings; len(got) != 1 || got[0].compare(want) != 0 {
		t.Errorf("findings: got %+v, want %+v", got, want)
	}
}

// TestReport wants at most 80 columns, the evidence, and a bound.
func TestReport(t *testing.T) {
	s := newStory()
	const n = 20
	for number := int64(0); number < n; number++ {
		s.acked("idempotent", number, number)
	}
	s.both(n, n-1, n-1)
	s.acked("a-client-with-a-name-of-more-than-eighty-columns-that-no-load-of-ours-would-ever-have", n, n)
	r := Check(s.h)
	text := r.String()
	for line := range strings.Lines(text) {
		if got := len([]rune(strings.TrimSuffix(line, "\n"))); got > columns {
			t.Errorf("columns: got %d, want at most %d: %s", got, columns, line)
		}
	}
	for _, want := range []string{"lost            19  ", "partition 0, offset 3, number 3, idempotent: read up to offset 19", "and 14 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("report: got no %q in\n%s", want, text)
		}
	}
	if !slices.IsSortedFunc(r.Findings, Finding.compare) {
		t.Errorf("findings are not sorted:\n%v", r.Findings)
	}
	if got := (Report{}).String(); !strings.Contains(got, "no findings") {
		t.Errorf("report without findings: %s", got)
	}
}
