//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// part is a run whose rows are in a joined report.
type part struct {
	File      string    `json:"file"`
	Command   string    `json:"command"`
	Began     time.Time `json:"began"`
	Took      string    `json:"took"`
	Complete  bool      `json:"complete"`
	Rounds    int       `json:"rounds"`
	Duration  string    `json:"duration"`
	RateShare float64   `json:"rate_share"`
	Workloads []string  `json:"workloads"` // that it has rows of
}

// newJoin is a command of its own: the parts have their options already.
func newJoin() *cobra.Command {
	var o joinOptions
	cmd := &cobra.Command{
		Use:   "join PART...",
		Short: "make one report of several runs, each a file by --json, or print that of one",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return join(files, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.json, "json", "", "file for the rows")
	cmd.Flags().StringVar(&o.html, "html", "", "file for the page")
	cmd.Flags().StringVar(&o.real, "real", "", "a file of `real --json`, which the page begins with")
	return cmd
}

// joinOptions are files; an empty one is not wanted.
type joinOptions struct{ json, html, real string }

func join(files []string, o joinOptions, stdout io.Writer) error {
	reports := make([]*report, len(files))
	for i, file := range files {
		var err error
		if reports[i], err = readReport(file); err != nil {
			return err
		}
	}
	joined, err := joinReports(files, reports)
	if err != nil {
		return err
	}
	if o.real != "" {
		if err := joined.addReal(o.real); err != nil {
			return err
		}
	}
	joined.Command = command(os.Args[1:])
	return joined.write(o.json, o.html, stdout)
}

// addReal adds a run in front of a real broker, which has to be of the same machine and the same versions.
func (r *report) addReal(file string) error {
	run, err := readRealReport(file)
	if err != nil {
		return err
	}
	apart := r.Machine.differences(run.Machine)
	for _, t := range run.Targets {
		for _, ours := range r.Targets {
			if ours.Name == t.Name && ours.Missing == "" && ours.Version != t.Version {
				apart = append(apart, fmt.Sprintf("%s: %s, and %s", t.Name, ours.Version, t.Version))
			}
		}
	}
	if len(apart) > 0 {
		return fmt.Errorf("--real %s is not of the same machine and versions:\n  %s", file, strings.Join(apart, "\n  "))
	}
	r.Real = run
	return nil
}

func readReport(file string) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(r.Rows) == 0 {
		return nil, fmt.Errorf("%s: no rows: nothing was measured, or it is not of --json; go run ./bench real --from %s prints a file of real --json", file, file)
	}
	return &r, nil
}

// joinReports makes one report of several. They have to be of one machine and one version
// of each target, and no row may be in two of them. Since direct is in all, the rows of a
// workload all come from one part, and its ratios are those of turns that were seconds
// apart.
func joinReports(files []string, reports []*report) (*report, error) {
	notes := dropUnfinished(files, reports)
	for i := range reports {
		for j := range i {
			if apart := reports[j].differences(reports[i]); len(apart) > 0 {
				return nil, fmt.Errorf("%s and %s cannot be joined:\n  %s", files[j], files[i], strings.Join(apart, "\n  "))
			}
		}
	}
	if err := unique(files, reports); err != nil {
		return nil, err
	}
	first := reports[0]
	joined := &report{
		Began: first.Began, Complete: true, Machine: first.Machine, Upstream: first.Upstream, Threads: first.Threads, Notes: notes,
	}
	var took time.Duration
	for i, r := range reports {
		runs := r.runs()
		if len(r.Parts) == 0 {
			runs[0].File = files[i]
		}
		joined.Parts = append(joined.Parts, runs...)
		if r.Began.Before(joined.Began) {
			joined.Began = r.Began
		}
		joined.Complete = joined.Complete && r.Complete
		each, _ := time.ParseDuration(r.Took) // it is 0 if the file was edited
		took += each
		joined.TLS = cmp.Or(joined.TLS, r.TLS)
		joined.Real = cmp.Or(joined.Real, r.Real)
		joined.Rows = append(joined.Rows, r.Rows...)
		for _, note := range r.Notes {
			joined.Notes = append(joined.Notes, files[i]+": "+note)
		}
	}
	joined.Took = took.String()
	joined.Rounds, joined.Duration, joined.RateShare = common(joined.Parts)
	joined.Targets = mergeTargets(reports)
	joined.Workloads = mergeWorkloads(reports)
	joined.sortRows()
	joined.Notes = append(joined.Notes, joined.unpaired()...)
	joined.Goals = goals(joined)
	return joined, nil
}

// dropUnfinished removes the last workload of a part that was ended early, if another
// part has it: it was run again. It adds a note.
func dropUnfinished(files []string, reports []*report) (notes []string) {
	for i, r := range reports {
		if r.Complete || len(r.Parts) > 0 {
			continue
		}
		last := r.Rows[len(r.Rows)-1].Workload
		again := slices.IndexFunc(reports, func(other *report) bool {
			return other != r && slices.ContainsFunc(other.Rows, func(row *row) bool { return row.Workload == last })
		})
		if again >= 0 {
			r.Rows = slices.DeleteFunc(r.Rows, func(row *row) bool { return row.Workload == last })
			notes = append(notes, fmt.Sprintf("%s was ended in %s, which is that of %s.", files[i], last, files[again]))
		}
	}
	return notes
}

// differences lists the differences because of which two runs cannot be joined.
func (r *report) differences(other *report) []string {
	apart := r.Machine.differences(other.Machine)
	compare := comparison(&apart)
	compare("unprivileged", r.Machine.Unprivileged, other.Machine.Unprivileged)
	compare("upstream", r.Upstream, other.Upstream)
	compare("threads of each target", r.Threads, other.Threads)
	for _, ours := range r.Targets {
		for _, theirs := range other.Targets {
			if ours.Name == theirs.Name && ours.Missing == "" && theirs.Missing == "" {
				compare(ours.Name, ours.Version, theirs.Version)
			}
		}
	}
	return apart
}

// differences are those between two machines.
func (m machine) differences(other machine) (apart []string) {
	compare := comparison(&apart)
	compare("CPU", m.CPU, other.CPU)
	compare("cores", m.Cores, other.Cores)
	compare("memory in MiB", m.MemoryMiB, other.MemoryMiB)
	compare("kernel", m.Kernel, other.Kernel)
	compare("Go", m.Go, other.Go)
	return apart
}

// comparison adds a line for each pair that is not equal.
func comparison(apart *[]string) func(what string, a, b any) {
	return func(what string, a, b any) {
		if a != b {
			*apart = append(*apart, fmt.Sprintf("%s: %v, and %v", what, a, b))
		}
	}
}

// unique returns an error for a row that two parts have.
func unique(files []string, reports []*report) error {
	type key struct{ target, workload string }
	var errs []error
	seen := make(map[key]string)
	for i, r := range reports {
		twice := make(map[string][]string) // targets, by the other file and the workload
		var order []string
		for _, row := range r.Rows {
			k := key{row.Target, row.Workload}
			other, ok := seen[k]
			if !ok {
				seen[k] = files[i]
				continue
			}
			where := fmt.Sprintf("%s and %s both have %s", other, files[i], row.Workload)
			if twice[where] == nil {
				order = append(order, where)
			}
			twice[where] = append(twice[where], row.Target)
		}
		for _, where := range order {
			errs = append(errs, fmt.Errorf("%s, of %s", where, strings.Join(twice[where], ", ")))
		}
	}
	return errors.Join(errs...)
}

// mergeTargets returns each target once, in the usual order. A target counts as missing
// if it was missing in all parts.
func mergeTargets(reports []*report) []*targetInfo {
	found := make(map[string]*targetInfo)
	names := targetNames()
	for _, r := range reports {
		for _, info := range r.Targets {
			if !slices.Contains(names, info.Name) {
				names = append(names, info.Name)
			}
			have := found[info.Name]
			if have == nil || have.Missing != "" && info.Missing == "" {
				made := *info
				found[info.Name] = &made
				continue
			}
			have.Config = cmp.Or(have.Config, info.Config)
			for sides, config := range info.TLS {
				have.configureTLS(sides, config)
			}
		}
	}
	var all []*targetInfo
	for _, name := range names {
		if info := found[name]; info != nil {
			all = append(all, info)
		}
	}
	return all
}

// mergeWorkloads returns the workloads that have rows, in the usual order.
func mergeWorkloads(reports []*report) []workload {
	found := make(map[string]workload)
	var names []string
	for _, w := range workloads() {
		names = append(names, w.Name)
	}
	for _, r := range reports {
		for _, w := range r.Workloads {
			if r.began(w) {
				found[w.Name] = w
			}
			if !slices.Contains(names, w.Name) {
				names = append(names, w.Name)
			}
		}
	}
	var all []workload
	for _, name := range names {
		if w, ok := found[name]; ok {
			all = append(all, w)
		}
	}
	return all
}

// sortRows puts them in the order of workloads and targets.
func (r *report) sortRows() {
	place := make(map[string]int)
	for i, w := range r.Workloads {
		place["workload "+w.Name] = i
	}
	for i, t := range r.Targets {
		place["target "+t.Name] = i
	}
	slices.SortStableFunc(r.Rows, func(a, b *row) int {
		return cmp.Or(
			cmp.Compare(place["workload "+a.Workload], place["workload "+b.Workload]),
			cmp.Compare(place["target "+a.Target], place["target "+b.Target]))
	})
}

// unpaired warns about workloads that are compared with one of another part, which ran at
// another time and rate.
func (r *report) unpaired() []string {
	from := make(map[string]string)
	for _, p := range r.Parts {
		for _, name := range p.Workloads {
			from[name] = p.File
		}
	}
	var notes []string
	for _, w := range r.Workloads {
		if other := from[w.RateOf]; w.RateOf != "" && other != "" && other != from[w.Name] {
			notes = append(notes, fmt.Sprintf("%s and %s, which it is compared with, are of two parts: not of one time, and each at a pinned rate of its own.",
				w.Name, w.RateOf))
		}
	}
	return notes
}

// runs are the parts of a report; a report that is not joined is its only part.
func (r *report) runs() []part {
	if len(r.Parts) > 0 {
		return r.Parts
	}
	p := part{
		Command: r.Command, Began: r.Began, Took: r.Took, Complete: r.Complete,
		Rounds: r.Rounds, Duration: r.Duration, RateShare: r.RateShare,
	}
	for _, w := range r.Workloads {
		if r.began(w) {
			p.Workloads = append(p.Workloads, w.Name)
		}
	}
	return []part{p}
}

// common are the options of all parts; those that differ are empty.
func common(parts []part) (rounds int, duration string, share float64) {
	first := parts[0]
	rounds, duration, share = first.Rounds, first.Duration, first.RateShare
	for _, p := range parts {
		if p.Rounds != first.Rounds {
			rounds = 0
		}
		if p.Duration != first.Duration {
			duration = ""
		}
		if p.RateShare != first.RateShare {
			share = 0
		}
	}
	return rounds, duration, share
}

// Measured is how: the rounds and their length, of each part if they differ.
func (p part) Measured() string {
	return fmt.Sprintf("%s of %s", plural(p.Rounds, "round"), p.Duration)
}

// Share is the pinned rate, as a part of the slowest maximum.
func (p part) Share() string { return fmt.Sprintf("%.0f %%", 100*p.RateShare) }

// Ended says when it ended.
func (p part) Ended() string {
	if p.Complete {
		return "took " + p.Took
	}
	return "ended early, after " + p.Took
}

// Measured is how all of a report was measured.
func (r *report) Measured() string { return distinct(r.runs(), part.Measured) }

// Share is the pinned rate, as a part of the slowest maximum.
func (r *report) Share() string { return distinct(r.runs(), part.Share) }

func distinct(parts []part, of func(part) string) string {
	var all []string
	for _, p := range parts {
		if text := of(p); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, " or ")
}
