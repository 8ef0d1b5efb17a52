//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// matrix is the result of a run.
type matrix struct {
	run      string // date and revision
	releases []*section
}

func (m *matrix) count() (ok, bad, skipped int) {
	for _, s := range m.releases {
		o, b, n := s.count()
		ok, bad, skipped = ok+o, bad+b, skipped+n
	}
	return ok, bad, skipped
}

func (s *section) count() (ok, bad, skipped int) {
	for _, c := range s.cells {
		switch c.outcome {
		case passed, alike:
			ok++
		case failed:
			bad++
		case unavailable:
			skipped++
		}
	}
	return ok, bad + len(s.faults()), skipped
}

// faults are the failures of a release as a whole.
func (s *section) faults() []string {
	var faults []string
	if s.leaks > 0 {
		faults = append(faults, fmt.Sprintf("Kafka %s: %d packets to a broker's own address", s.version, s.leaks))
	}
	for line := range strings.Lines(s.complaints) {
		if strings.Contains(line, `"level":"ERROR"`) {
			faults = append(faults, fmt.Sprintf("Kafka %s: kproxy says %s", s.version, strings.TrimSpace(line)))
		}
	}
	return faults
}

// failures are lines about the failures.
func (m *matrix) failures() []string {
	var lines []string
	for _, s := range m.releases {
		for _, c := range s.cells {
			if c.outcome == failed {
				lines = append(lines, fmt.Sprintf("Kafka %s, %s, %s: %s", s.version, c.client.name, c.work.name, c.why))
			}
		}
		lines = append(lines, s.faults()...)
	}
	return lines
}

// The marks of the cells.
var marks = map[outcome]string{passed: "✓", failed: "✗", unavailable: "–", alike: "="}

// preface is the head of docs/compatibility.md. The rest are the releases, each from the
// run that it names: a run of some replaces theirs.
const preface = `# Compatibility

Written by ` + "`make compat`" + `, not to be edited. Every cell is one client doing one work with one release of Kafka, real
brokers as processes, twice at once: through kproxy from a network that cannot reach the brokers, and beside them
without it. A firewall counts the packets from the client's network to a broker's own address. The
description of each work, and the contract that all clients keep, are in [e2e/compat](../e2e/compat/clients/README.md).

| mark | meaning |
|---|---|
| ✓ | done through kproxy: all records written were read, none lost |
| ✗ | failed through kproxy, and not without it |
| – | the client's library does not offer it |
| = | fails without kproxy just so; the notes say why |

`

// page is docs/compatibility.md with the releases of this run, and those of the page
// before that it has not run.
func (m *matrix) page(before string) string {
	sections := make(map[string]string)
	for _, part := range strings.Split(before, "\n## Kafka ")[1:] {
		version, _, _ := strings.Cut(part, "\n")
		sections[version] = "## Kafka " + strings.TrimRight(part, "\n") + "\n\n"
	}
	for _, s := range m.releases {
		sections[s.version] = s.text(m.run)
	}
	var page strings.Builder
	page.WriteString(preface)
	for _, version := range lab.Releases() {
		page.WriteString(sections[version])
	}
	return strings.TrimRight(page.String(), "\n") + "\n"
}

// write writes the page.
func (m *matrix) write(file string) error {
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(m.page(string(before))), 0o644)
}

// clientVersions lists the clients with the versions of their libraries.
func (s *section) clientVersions() string {
	versions := make(map[string]string)
	for _, c := range s.cells {
		if v := cmp.Or(c.proxied.version, c.direct.version); v != "" {
			versions[c.client.name] = v
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		list = append(list, strings.TrimSuffix(name, " "+versions[name])+" "+versions[name])
	}
	return strings.Join(list, ", ")
}

// text is the table of one release: works down, clients across.
func (s *section) text(run string) string {
	b := new(strings.Builder)
	ok, bad, skipped := s.count()
	fmt.Fprintf(b, "## Kafka %s\n\n%s, in %v: %d cells passed, %d failed, %d not offered by the client; %d connections to a broker's own address.\n\n",
		s.version, run, s.took.Round(time.Minute), ok, bad, skipped, s.leaks)
	fmt.Fprintf(b, "With %s.\n\n", s.clientVersions())
	var clients []*client
	for _, c := range s.cells {
		if !slices.Contains(clients, c.client) {
			clients = append(clients, c.client)
		}
	}
	b.WriteString("| work |")
	for _, c := range clients {
		fmt.Fprintf(b, " %s |", c.name)
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(clients)) + "\n")
	notes := make(map[string][]string)
	for _, w := range works {
		row := make([]string, len(clients))
		there := false
		for _, c := range s.cells {
			if c.work == w {
				there = true
				row[slices.Index(clients, c.client)] = marks[c.outcome]
				if note := c.note(s.version); note != "" {
					notes[note] = append(notes[note], fmt.Sprintf("%s, %s", c.client.name, w.name))
				}
			}
		}
		if there {
			fmt.Fprintf(b, "| %s | %s |\n", w.name, strings.Join(row, " | "))
		}
	}
	b.WriteString("\n")
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(b, "- %s: %s\n", strings.Join(notes[note], "; "), note)
	}
	for _, fault := range s.faults() {
		fmt.Fprintf(b, "- %s\n", oneLine(fault))
	}
	b.WriteString("\n")
	return b.String()
}

// known explains work that clients cannot do without kproxy either.
var known = []struct{ client, work, since, why string }{
	{"kcat", "SASL re-authentication", "", "Debian's kcat has librdkafka 2.0.2, which does not log in again (KIP-368; librdkafka#4301)"},
	{"aiokafka", "SASL re-authentication", "", "aiokafka does not log in again (KIP-368; aiokafka#1105)"},
	{"kcat", "SASL SCRAM", "4.0", "Debian's kcat has librdkafka 2.0.2, whose SCRAM Kafka 4 refuses (librdkafka#4895, mended in 2.6.1)"},
}

// note is the remark on a cell.
func (c *cell) note(version string) string {
	for _, k := range known {
		if c.outcome == alike && c.client.name == k.client && strings.HasPrefix(c.work.name, k.work) && lab.AtLeast(version, k.since) {
			return k.why
		}
	}
	if c.work.networks != nil && c.outcome == passed {
		return c.why // of each client
	}
	return oneLine(c.why)
}

// oneLine is the first line of a reason, short enough for a page.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	const most = 160
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
