//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// column is one figure of a table.
type column struct{ title, name string }

// columnsOf are the figures that a workload's table shows.
func columnsOf(w workload) []column {
	switch w.Kind {
	case idle:
		return []column{
			{"KiB/conn (RSS)", kibPerIdle},
			{"with kernel (cgroup), KiB", cgroupPrefix + kibPerIdle},
			{"machine's TCP buffers, KiB", socketPrefix + kibPerIdle},
			{"machine's slab, KiB", slabPrefix + kibPerIdle},
		}
	case stalled:
		return []column{
			{"MB/s", mbPerS},
			{"CPU s/GB", cpuPerGB},
			{"pinned CPU s/GB", pinned + cpuPerGB},
			{"pinned p99 µs", p99},
			{"KiB/stalled (RSS)", kibPerStall},
			{"with kernel (cgroup), KiB", cgroupPrefix + kibPerStall},
			{"machine's TCP buffers, KiB", socketPrefix + kibPerStall},
		}
	case churn:
		return []column{
			{"conn/s", reqPerS},
			{"CPU µs/conn", cpuPerReq},
			{"pinned CPU µs/conn", pinned + cpuPerReq},
			{"machine less direct", pinned + netPerReq},
			{"pinned p50 µs", p50},
			{"pinned p99 µs", p99},
		}
	case requests:
	}
	if w.Bytes >= 64*kib || w.Key == kmsg.Metadata.Int16() {
		return []column{
			{"MB/s", mbPerS},
			{"CPU s/GB", cpuPerGB},
			{"pinned CPU s/GB", pinned + cpuPerGB},
			{"machine less direct", pinned + netPerGB},
			{"pinned p50 µs", p50},
			{"pinned p99 µs", p99},
		}
	}
	return []column{
		{"req/s", reqPerS},
		{"CPU µs/req", cpuPerReq},
		{"pinned CPU µs/req", pinned + cpuPerReq},
		{"machine less direct", pinned + netPerReq},
		{"pinned p50 µs", p50},
		{"pinned p99 µs", p99},
	}
}

// short writes a number with three digits that count.
func short(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// spread writes a median with its spread.
func spread(s series) string {
	least, greatest := s.spread()
	if math.IsNaN(least) {
		return "-"
	}
	return fmt.Sprintf("%s (%s..%s)", short(s.median()), short(least), short(greatest))
}

func (r *report) writeTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) } // Flush has the error
	say("%s\n%s, %d cores, %d MiB; %s; %s; upstream: %s\n", r.Command, r.Machine.CPU, r.Machine.Cores, r.Machine.MemoryMiB,
		r.Machine.Kernel, r.Machine.Go, r.Upstream)
	say("%s, %d threads; median (least..greatest); pinned: %s of the slowest target's maximum\n", r.Measured(), r.Threads, r.Share())
	if r.TLS != nil {
		say("with TLS: %s, %s, %s\n", r.TLS.Version, r.TLS.CipherSuite, r.TLS.Key)
	}
	r.tableOfParts(say)
	say("\n")
	for _, t := range r.Targets {
		what := t.Version
		if t.Missing != "" {
			what = "NOT MEASURED: " + firstOf(t.Missing)
		}
		say("%s\t%s\n", t.Name, what)
	}
	for _, work := range r.Workloads {
		r.tableOf(say, work)
	}
	r.tableOfGoals(say)
	for _, note := range r.Notes {
		say("\nNote: %s", note)
	}
	say("\n")
	sentences, _ := r.answer()
	for _, sentence := range sentences {
		say("%s\n", sentence)
	}
	say("%s\n", r.took())
	return w.Flush()
}

// tableOfParts lists the runs that a report was joined of.
func (r *report) tableOfParts(say func(string, ...any)) {
	if len(r.Parts) == 0 {
		return
	}
	say("\nPART\tBEGAN\tMEASURED\tPINNED\tWORKLOADS\t\tCOMMAND\n")
	for _, p := range r.Parts {
		say("%s\t%s\t%s\t%s\t%d\t%s\t%s\n", p.File, p.Began.Format("2006-01-02 15:04 MST"), p.Measured(), p.Share(),
			len(p.Workloads), p.Ended(), p.Command)
	}
}

func (r *report) took() string {
	if len(r.Parts) == 0 {
		return r.runs()[0].Ended()
	}
	said := []string{fmt.Sprintf("took %s in %s", r.Took, plural(len(r.Parts), "part"))}
	for _, p := range r.Parts {
		if !p.Complete {
			said = append(said, p.File+" was ended early")
		}
	}
	return strings.Join(said, "; ")
}

// firstOf shortens a text to one line: its first line and its last, which in a log
// usually has the cause.
func firstOf(text string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(text), "\n")
	if !more {
		return first
	}
	return first + " … " + strings.TrimSpace(rest[strings.LastIndexByte(rest, '\n')+1:])
}

func (r *report) tableOf(say func(string, ...any), work workload) {
	if !r.began(work) {
		return
	}
	columns := columnsOf(work)
	say("\n%s: %s\nTARGET", work.Name, work.Describe())
	for _, c := range columns {
		say("\t%s", c.title)
	}
	say("\n")
	for _, row := range r.Rows {
		if row.Workload != work.Name {
			continue
		}
		say("%s", row.Target)
		for _, c := range columns {
			if len(row.figures) > 0 {
				say("\t%s", spread(row.series(c.name)))
			}
		}
		say("\t%s\n", row.notes())
	}
}

// began reports whether a workload has rows: a run that was ended early has not begun
// all.
func (r *report) began(w workload) bool {
	return slices.ContainsFunc(r.Rows, func(row *row) bool { return row.Workload == w.Name })
}

// notes are the remarks on a row, in one line.
func (r *row) notes() string {
	notes := make([]string, len(r.Notes))
	for i, note := range r.Notes {
		notes[i] = firstOf(note)
	}
	return strings.Join(notes, "; ")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (r *report) tableOfGoals(say func(string, ...any)) {
	if len(r.Goals) == 0 {
		return
	}
	say("\nGOAL of kproxy\tWORKLOAD\tLOAD\tAGAINST\tLIMIT\tMEASURED\tVERDICT\n")
	count := make(map[string]int)
	for _, g := range r.Goals {
		count[g.Verdict]++
		say("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Figure, g.Workload, g.Load, g.Against, g.LimitText(), g.MeasuredText(), g.Verdict)
	}
	say("%d met, %d undecided (the rounds lie on both sides of the limit, or a target is missing), %d not met, %d not measured; allocations per forwarded frame: go test ./proxy -run AllocateNothing -bench Pumps\n",
		count[met], count[undecided], count[notMet], count[notMeasured])
}

// LimitText is the limit with its unit.
func (g goal) LimitText() string {
	if g.Against == absolute {
		return "≤ " + short(g.Limit) + " KiB"
	}
	return "≤ " + short(g.Limit) + " ×"
}

// MeasuredText is the median with its spread.
func (g goal) MeasuredText() string {
	if g.Median == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s..%s)", short(*g.Median), short(*g.Least), short(*g.Greatest))
}
