package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of fault. The set is closed. The package comment has the definitions.
type Kind int

// The kinds.
const (
	Incomplete Kind = iota + 1
	Lost
	Unseen
	Duplicate
	Reordered
	Torn
	Aborted
	Phantom
	Inconsistent
	Back
	Skipped
	Stale
)

// kinds have a name and a meaning, in the order of a report.
var kinds = []struct {
	kind          Kind
	name, meaning string
}{
	{Incomplete, "incomplete", "the history lacks events, and proves nothing"},
	{Lost, "lost", "acknowledged, and a later offset was read without it"},
	{Unseen, "unseen", "acknowledged, and never read"},
	{Duplicate, "duplicate", "one record at two offsets, of an idempotent producer"},
	{Reordered, "reordered", "an earlier record of a producer is behind a later one"},
	{Torn, "torn", "other bytes than were sent, or a part of a transaction"},
	{Aborted, "aborted", "read, although it was aborted or has failed"},
	{Phantom, "phantom", "read, although it was not sent to this partition"},
	{Inconsistent, "inconsistent", "one offset has two records"},
	{Back, "back", "a reader went back without a rebalance or a seek"},
	{Skipped, "skipped", "a reader passed a record that others read there"},
	{Stale, "stale", "a group's offset is none that its commits allow"},
}

// String is the kind's name.
func (k Kind) String() string {
	for _, row := range kinds {
		if row.kind == k {
			return row.name
		}
	}
	return fmt.Sprintf("kind %d", int(k))
}

// maxEvidence bounds the offsets and the numbers of one finding.
const maxEvidence = 8

// Finding is one thing that is wrong, with its evidence.
type Finding struct {
	Kind      Kind
	Client    string // the producer, or the reader, or "" where it is no single client's
	Partition int32
	Offsets   []int64
	Numbers   []int64 // of the records
	Detail    string
}

// String is the evidence.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "partition %d", f.Partition)
	list := func(word string, values []int64) {
		if len(values) == 0 {
			return
		}
		fmt.Fprintf(&b, ", %s", word)
		for _, v := range values[:min(len(values), maxEvidence)] {
			fmt.Fprintf(&b, " %d", v)
		}
	}
	list("offset", f.Offsets)
	list("number", f.Numbers)
	if f.Client != "" {
		fmt.Fprintf(&b, ", %s", f.Client)
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, ": %s", f.Detail)
	}
	return b.String()
}

// compare orders findings by kind, then by place.
func (f Finding) compare(g Finding) int {
	return cmp.Or(
		cmp.Compare(f.Kind, g.Kind),
		cmp.Compare(f.Partition, g.Partition),
		slices.Compare(f.Offsets, g.Offsets),
		slices.Compare(f.Numbers, g.Numbers),
		strings.Compare(f.Client, g.Client),
		strings.Compare(f.Detail, g.Detail),
	)
}

// Counts are how much a history holds. A clean report of an empty history proves
// nothing, so a caller wants them to be more than zero.
type Counts struct {
	Clients                              int
	Sent, Acked, Failed, Unknown         int // records
	TxCommitted, TxAborted, TxUnknown    int
	Polls, Read                          int // Read counts a record once for each time that it is read
	Rebalances, Commits, Fetches         int
	AllowedDuplicates, AllowedOutOfOrder int // of producers with acks=all alone
	UnknownRead                          int // records of unknown outcome that are in the log
}

// Report is the result of Check.
type Report struct {
	Findings []Finding // sorted
	Counts   Counts
}

// Has reports whether there is a finding of this kind.
func (r Report) Has(k Kind) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == k })
}

const (
	columns  = 80
	maxLines = 5 // that a report has of one kind
)

// String is a short report of at most 80 columns.
func (r Report) String() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		text := []rune(fmt.Sprintf(format, args...))
		if len(text) > columns {
			text = append(text[:columns-1], '…')
		}
		b.WriteString(string(text) + "\n")
	}
	c := r.Counts
	line("%d clients; %d records sent: %d acknowledged, %d failed, %d unknown", c.Clients, c.Sent, c.Acked, c.Failed, c.Unknown)
	line("%d transactions committed, %d aborted, %d unknown", c.TxCommitted, c.TxAborted, c.TxUnknown)
	line("%d records read in %d polls; %d rebalances, %d commits, %d fetches", c.Read, c.Polls, c.Rebalances, c.Commits, c.Fetches)
	line("%d unknown records in the log; without idempotence %d twice, %d out of order", c.UnknownRead, c.AllowedDuplicates, c.AllowedOutOfOrder)
	if len(r.Findings) == 0 {
		line("no findings")
	}
	for _, row := range kinds {
		n := 0
		for _, f := range r.Findings {
			if f.Kind == row.kind {
				n++
			}
		}
		if n == 0 {
			continue
		}
		line("%-12s %5d  %s", row.name, n, row.meaning)
		shown := 0
		for _, f := range r.Findings {
			if f.Kind == row.kind && shown < maxLines {
				line("    %s", f)
				shown++
			}
		}
		if n > shown {
			line("    and %d more", n-shown)
		}
	}
	return b.String()
}
