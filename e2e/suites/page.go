//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/foreign"
)

// clean makes one line of a suite's text, and bounds it.
func clean(text string) string { return foreign.LineOf(text, 200) }

// count is how many tests of a way had an outcome in their first try.
func (r *report) count(w way, o outcome) (n int) {
	for _, t := range r.tests {
		tries := t.direct
		if w == through {
			tries = t.through
		}
		if tries[0].outcome == o {
			n++
		}
	}
	return n
}

// with are the tests that have a verdict, sorted.
func (r *report) with(v verdict) (list []string) {
	for name, t := range r.tests {
		if t.verdict() == v {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// outcomes are the counts of one way's first try.
func (r *report) outcomes(w way) string {
	parts := []string{fmt.Sprintf("%d pass", r.count(w, passed))}
	for _, o := range []struct {
		outcome outcome
		word    string
	}{{failed, "fail"}, {unfinished, "unfinished"}, {missing, "not run"}, {skipped, "skip"}} {
		if n := r.count(w, o.outcome); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.word))
		}
	}
	return strings.Join(parts, ", ")
}

// summary is the run in a line.
func (r *report) summary() string {
	return fmt.Sprintf("%d tests; directly %s; through kproxy %s; %d count against kproxy; %d sessions, %d failed dials",
		len(r.tests), r.outcomes(directly), r.outcomes(through), len(r.with(against)), r.through.counts.sessions, r.through.counts.failedDials())
}

// problem is the reason why the run as a whole fails: a suite that cannot be run, or a test
// that counts against kproxy.
func (r *report) problem() error {
	if r.err != nil {
		return fmt.Errorf("%s: %w", r.about.name, r.err)
	}
	if bad := r.with(against); len(bad) > 0 {
		return fmt.Errorf("%s: %d tests pass directly and fail through kproxy: %s", r.about.name, len(bad), strings.Join(bad, ", "))
	}
	return nil
}

// writeTable writes the table of all tests by name.
func (r *report) writeTable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n%s\n\n%-12s %-12s %-20s %s\n", r.about.title, r.pkg, r.summary(), "directly", "kproxy", "verdict", "test")
	for _, name := range names(r.direct.results, r.through.results) {
		t := r.tests[name]
		fmt.Fprintf(&b, "%-12s %-12s %-20s %s\n", show(t.direct), show(t.through), t.verdict(), clean(name))
	}
	return os.WriteFile(filepath.Join(dir, r.about.name+".txt"), []byte(b.String()), 0o644)
}

// show are the outcomes of the tries of one way.
func show(tries []result) string {
	var all []string
	for _, r := range tries {
		all = append(all, r.outcome.String())
	}
	return strings.Join(all, ", ")
}

const pageHead = `# Others' test suites

The test suites of other projects, run with real and fake brokers: directly, and through kproxy. Written by
` + "`make suites`" + `, not to be edited. Nothing of a suite is kept here: the run fetches each as the package that is named.

Everything runs on one machine, in a network namespace with no way out. Directly, the brokers advertise
addresses that work. Through kproxy they advertise ` + "`broker-N.vpc.invalid:9092`" + `, which resolves nowhere: a client that
gets such an address fails its test.

A test that fails through kproxy gets a second try there. It **counts against kproxy** if it fails again, and passes directly
in one of its tries. A test that does not end, or that is skipped through kproxy alone, counts as one that fails. Subtests
count as tests. The numbers of a way are those of its first try; the sessions are those of all tries. Seconds have the load
average of the machine at the end of the run in brackets: where others use the machine, they say little.

Not among them: franz-go's kadm, whose tests open no connection, and kafka-python, whose source distribution lacks files
that its integration tests need.

`

// The head of the table of all suites.
const pageTable = `| suite | brokers | tests | directly | through kproxy | against kproxy | seconds, directly / through | kproxy's sessions | failed dials | run |
|---|---|--:|---|---|--:|--:|--:|--:|---|
`

// row is the suite's row in the table of all suites.
func (r *report) row() string {
	return fmt.Sprintf("| [%s](#%s) | %s | %d | %s | %s | %d | %.0f (%s) / %.0f (%s) | %d | %d | %s, %s |\n",
		r.about.title, r.about.name, r.on, len(r.tests), r.outcomes(directly), r.outcomes(through), len(r.with(against)),
		r.direct.took.Seconds(), r.direct.load, r.through.took.Seconds(), r.through.load, r.through.counts.sessions, r.through.counts.failedDials(),
		time.Now().UTC().Format(time.DateOnly), lab.Revision())
}

// section is the suite's part of the page, without its heading.
func (r *report) section() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, with %s. `%s`; %s.\n\n", r.about.title, r.pkg, r.on, r.command, r.about.how)
	fmt.Fprintf(&b, "%s, kproxy %s, on %s.", time.Now().UTC().Format(time.DateOnly), lab.Revision(), lab.Machine())
	if others := r.through.counts.others(); others != "" {
		fmt.Fprintf(&b, " Sessions that neither the client nor the broker ended: %s.", others)
	}
	b.WriteString("\n\n")
	differences := slices.Concat(r.with(against), r.with(once), r.with(both), r.with(onlyDirect))
	if len(differences) == 0 {
		b.WriteString("Every test has the same outcome both ways, and none fails.\n")
		return b.String()
	}
	b.WriteString("| test | directly | through kproxy | explanation |\n|---|---|---|---|\n")
	for _, name := range differences {
		t := r.tests[name]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(name), show(t.direct), show(t.through), cell(cmp.Or(explain(r.about.name, name), t.reason())))
	}
	return b.String()
}

// reason is the last line of the output of a try that did not pass: for a difference that
// known does not explain.
func (t tries) reason() string {
	prefix := "not explained: "
	if t.verdict() == onlyDirect {
		prefix = "without kproxy: "
	}
	for _, r := range slices.Concat(t.through, t.direct) {
		for _, line := range slices.Backward(strings.Split(r.why, "\n")) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--- ") {
				return prefix + line
			}
		}
	}
	return "not explained"
}

// cell makes a text fit into a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "[", `\[`, "_", `\_`, "*", `\*`, "`", "'").Replace(clean(text))
}

// heading is the heading of each section: the suite's name, for anchors.
const heading = "\n## "

// pageRow is a row of the table of all suites, with the suite's name.
var pageRow = regexp.MustCompile(`(?m)^\| \[[^\]]*\]\(#([^)]+)\) .*\n`)

// page is the page with this report in the place of the suite's earlier one.
func page(before string, r *report, order []string) string {
	rows, sections := map[string]string{}, map[string]string{}
	for _, m := range pageRow.FindAllStringSubmatch(before, -1) {
		rows[m[1]] = m[0]
	}
	for _, part := range strings.Split(before, heading)[1:] {
		name, text, _ := strings.Cut(part, "\n")
		sections[name] = strings.TrimSpace(text) + "\n"
	}
	rows[r.about.name], sections[r.about.name] = r.row(), r.section()

	var b strings.Builder
	b.WriteString(pageHead + pageTable)
	for _, name := range order {
		b.WriteString(rows[name])
	}
	for _, name := range order {
		if rows[name] != "" && sections[name] != "" {
			b.WriteString(heading + name + "\n\n" + sections[name])
		}
	}
	b.WriteString(heading + flakyHeading + "\n\n" + flaky())
	return b.String()
}

const flakyHeading = "Tests that fail by themselves"

// flaky is the list of known.
func flaky() string {
	var b strings.Builder
	b.WriteString("Known from runs without kproxy, and from their code, whether they failed in the runs above or not:\n\n")
	for _, k := range known {
		fmt.Fprintf(&b, "- %s, %s: %s.\n", k.suite, cell(k.test), k.why)
	}
	return b.String()
}

// writePage puts a report into the page.
func writePage(file string, r *report) error {
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var order []string
	for _, s := range suites(options{}) {
		order = append(order, s.about().name)
	}
	return os.WriteFile(file, []byte(page(string(before), r, order)), 0o644)
}
