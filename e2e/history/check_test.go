package history

import (
	"slices"
	"strings"
	"testing"
)

// TestFindings wants each fault to be found, by the rule of its kind alone, and no other
// finding beside it.
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

// TestAllowed wants duplicates and disorder to be counted where there is no idempotence.
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
		{"a record is not in the partition that the client chose", [2]Kind{Unseen, Phantom}, func(s *story) {
			s.send("acks", AnyPartition, 1)
			s.add(Event{Type: Sent, Client: "acks", Number: 1, Outcome: OK, Partition: 1, Offset: NoOffset})
			s.final("all", 1, 0)
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

// TestEvidence compares all of a finding.
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
	for number := range int64(n) {
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
