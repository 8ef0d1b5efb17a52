//go:build linux

package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is the result of a run.
type report struct {
	Began    time.Time      `json:"began"`
	Revision string         `json:"revision"`
	Machine  string         `json:"machine"`
	Planned  string         `json:"planned"`
	Rate     int            `json:"rate"`            // records a second of each producer
	Plant    string         `json:"plant,omitempty"` // leaks in kproxy
	Ended    bool           `json:"ended"`           // the load has ended as planned
	Counts   map[string]int `json:"counts"`
	Faults   []string       `json:"faults"`
	Growth   []growth       `json:"growth"`
	Before   sample         `json:"before"`
	After    sample         `json:"after"`
	Samples  []sample       `json:"samples"`
	Log      string         `json:"log"` // kproxy's last warnings and errors
}

// At rest kproxy may have more than before the load: it has connections of its own to the
// brokers, and Go's runtime keeps some memory.
const (
	moreFiles      = 10
	moreGoroutines = 10
	moreHeap       = 4 * mib
)

// atRest wants kproxy to be as before the load.
func (r *report) atRest() error {
	var errs []error
	for _, at := range []struct {
		name                string
		before, after, more float64
	}{
		{"sessions", 0, r.After.Sessions, 0},
		{"held bytes", 0, r.After.Held, 0},
		{"descriptors", r.Before.Files, r.After.Files, moreFiles},
		{"goroutines", r.Before.Goroutines, r.After.Goroutines, moreGoroutines},
		{"bytes of heap", r.Before.Heap, r.After.Heap, moreHeap},
	} {
		if at.after > at.before+at.more {
			errs = append(errs, fmt.Errorf("%.0f %s, %.0f before the load", at.after, at.name, at.before))
		}
	}
	return errors.Join(errs...)
}

// judge fills in the trends, as far as there are enough samples.
func (r *report) judge() {
	r.Growth = nil
	for _, c := range columns() {
		if c.Floor == 0 {
			continue
		}
		if g, err := judge(r.values(c), c.Floor); err == nil {
			g.Figure, g.Unit = c.Name, c.Unit
			r.Growth = append(r.Growth, g)
		}
	}
}

func (r *report) values(c column) []float64 {
	var values []float64
	for _, s := range r.Samples {
		values = append(values, c.Of(s))
	}
	return values
}

// verdict is an error if something grows or failed, or if the run is not whole.
func (r *report) verdict() error {
	var errs []error
	if !r.Ended {
		errs = append(errs, errors.New("the run did not end"))
	}
	if len(r.Growth) == 0 {
		errs = append(errs, errors.New("there are not enough samples for a verdict"))
	}
	if n := r.Counts[missed]; n > len(r.Samples)/20 {
		errs = append(errs, fmt.Errorf("%d samples were missed, %d were taken", n, len(r.Samples)))
	}
	for _, g := range r.Growth {
		if g.Grows {
			errs = append(errs, fmt.Errorf("%s: grows by %.2f %s in the second half, 95 %% interval %.2f to %.2f", g.Figure, g.Sen, g.Unit, g.Low, g.High))
		}
	}
	for _, fault := range r.Faults {
		errs = append(errs, errors.New(fault))
	}
	return errors.Join(errs...)
}

// write writes the files, with the counts and the faults so far.
func (s *site) write(r *report) error {
	s.mu.Lock()
	r.Counts, r.Faults = maps.Clone(s.counts), slices.Clone(s.faults)
	if s.missed > 0 {
		r.Faults = append(r.Faults, fmt.Sprintf("and %d more", s.missed))
	}
	s.mu.Unlock()
	return r.write(s.Out)
}

func (r *report) write(out string) error {
	r.judge()
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	var page strings.Builder
	if err := pageTemplate.Execute(&page, r); err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(out), 0o755),
		os.WriteFile(out+".json", data, 0o644),
		os.WriteFile(out+".html", []byte(page.String()), 0o644),
		os.WriteFile(out+".md", []byte(r.markdown()), 0o644),
	)
}

// again writes the pages of an earlier run from its JSON.
func again(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return r.write(strings.TrimSuffix(file, ".json"))
}

// Took is the time of the last sample.
func (r *report) Took() time.Duration {
	if len(r.Samples) == 0 {
		return 0
	}
	return time.Duration(r.Samples[len(r.Samples)-1].Seconds * float64(time.Second)).Round(time.Second)
}

// Good reports whether nothing grows and nothing failed.
func (r *report) Good() bool { return r.verdict() == nil }

// Text is the verdict in one line.
func (r *report) Text() string {
	err := r.verdict()
	switch {
	case !r.Ended:
		return fmt.Sprintf("The run goes on, or was cut, at %v of %s.", r.Took(), r.Planned)
	case err == nil:
		return fmt.Sprintf("Nothing grows in %v, and nothing failed.", r.Took())
	default:
		return "Failed: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
}

// Events are the counts in words.
func (r *report) Events() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		list = append(list, fmt.Sprintf("%d %s", r.Counts[name], name))
	}
	return strings.Join(list, ", ")
}

const markdownHead = `# Hours of load

One kproxy under a small load of every kind, and whether anything in it grows. ` + "`make soak`" + ` writes this page as
dist/soak.md, and charts of all figures over the time as dist/soak.html; the samples are in dist/soak.json. T is the time of
the load: ` + "`make soak T=8h`" + ` takes a night, and 1 GiB of disk. Explanations of failures are added by hand.

**The load**, for real Kafka brokers behind names that do not resolve, is in plaintext and in TLS with a server name for
each broker. Six producers of every guarantee, readers, and a group whose members come and go, in parts of three minutes, with
topics of their own. ` + "`e2e/history`" + ` checks the history of each part for records that are lost, duplicate, reordered or torn. Beside
it: four clients a second that connect and leave; five connections a second that end within a frame or a handshake, send no
Kafka, refuse the certificate, or stay idle.

**The changes**: leaders of half the partitions move every 15 s, the configuration is reloaded every 20 s (one of ten is
wrong, and refused), the TLS certificate is replaced every minute, and a broker is restarted every 15 minutes.

**The verdict** is on the second half of the run: it is cut into 12 parts, and the growth within the half is Sen's slope of
the medians of the parts, with its 95 % interval by Kendall's statistic. A figure grows if the whole interval is above 0
and the growth is more than allowed: 2 % of the level, or a floor. Without load, kproxy must come back to its level before it.
` + "`make soak-planted`" + ` builds leaks into kproxy, one for every 20th session, and the run must find each. Latency is reported,
and not judged: the machine runs the brokers and the clients, too.

`

// markdown is the page docs/soak.md.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s## %s of load\n\n%s\n\n`go run ./e2e/soak -t %s`, %s, kproxy %s, on %s; %d records a second of each producer.\n%s.\n\n",
		markdownHead, r.Took(), r.Text(), r.Planned, r.Began.UTC().Format(time.DateOnly), r.Revision, r.Machine, r.Rate, r.Events())
	out.WriteString("| figure | first half | second half | most | growth within the second half | 95 % interval | allowed | verdict |\n|---|--:|--:|--:|--:|--:|--:|---|\n")
	for _, g := range r.Growth {
		fmt.Fprintf(&out, "| %s | %.1f | %.1f | %.1f | %+.2f | %+.2f to %+.2f | %.2f | %s |\n",
			name(g), g.First, g.Level, g.Most, g.Sen, g.Low, g.High, g.Allowed, g)
	}
	out.WriteString("\n| latency of a record, acks=all, in ms | p50 | p99 |\n|---|--:|--:|\n")
	for _, way := range []string{"", ", directly"} {
		fmt.Fprintf(&out, "| median of the samples%s | %.1f | %.1f |\n", cmp.Or(way, ", through kproxy"), r.latency("latency p50"+way), r.latency("latency p99"+way))
	}
	if r.Ended {
		out.WriteString("\n| without load | before | after |\n|---|--:|--:|\n")
		for _, row := range r.Rest() {
			fmt.Fprintf(&out, "| %s | %s | %s |\n", row.Name, row.Before, row.After)
		}
	}
	return out.String()
}

// latency is the median over the samples.
func (r *report) latency(figure string) float64 {
	all := columns()
	i := slices.IndexFunc(all, func(c column) bool { return c.Name == figure })
	return median(r.values(all[i]))
}

// restRow is a figure without load.
type restRow struct{ Name, Before, After string }

// Rest compares the state before the load with that after it.
func (r *report) Rest() []restRow {
	var rows []restRow
	for _, c := range columns() {
		if c.Floor > 0 {
			rows = append(rows, restRow{name(growth{Figure: c.Name, Unit: c.Unit}), short(c.Of(r.Before)), short(c.Of(r.After))})
		}
	}
	return rows
}

func name(g growth) string {
	if g.Unit == "" {
		return g.Figure
	}
	return g.Figure + " (" + g.Unit + ")"
}

func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

//go:embed page.gohtml
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))
