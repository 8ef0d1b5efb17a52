//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// matrix is what came of a run.
type matrix struct {
	began    time.Time
	took     time.Duration
	quick    bool
	releases []*section
}

func (m *matrix) count() (ok, bad, skipped int) {
	for _, s := range m.releases {
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
		bad += len(s.faults())
	}
	return ok, bad, skipped
}

// faults are what is wrong with a release as a whole.
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

// failures are lines about what is not as it should be.
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

// page is docs/compatibility.md.
func (m *matrix) page() string {
	var b strings.Builder
	command := "make compat"
	if m.quick {
		command = "make compat-quick"
	}
	ok, bad, skipped := m.count()
	fmt.Fprintf(&b, `# What kproxy works with

Written by `+"`%s`"+` on %s, on %s/%s with %d cores, in %v: %d cells passed, %d failed, %d not offered by the client.
Every cell is one client doing one work with one release of Kafka, three real brokers as processes, twice at once: through
kproxy from a network that cannot reach the brokers, and beside them without it. A firewall counts what goes from the
client's network to a broker's own address; there is a line for it under each table. What each work does, and the contract
that all clients keep, is in [e2e/compat](../e2e/compat/clients/README.md).

| mark | meaning |
|---|---|
| ✓ | done through kproxy: all records written were read, none lost |
| ✗ | failed through kproxy, and not without it |
| – | the client's library does not offer it |
| = | fails without kproxy just so; the notes say why |

`, command, m.began.UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), m.took.Round(time.Minute), ok, bad, skipped)
	m.clientVersions(&b)
	for _, s := range m.releases {
		s.write(&b)
	}
	return b.String()
}

// clientVersions lists the clients with the versions of their libraries.
func (m *matrix) clientVersions(b *strings.Builder) {
	versions := make(map[string]string)
	for _, s := range m.releases {
		for _, c := range s.cells {
			if v := cmp.Or(c.proxied.version, c.direct.version); v != "" {
				versions[c.client.name] = v
			}
		}
	}
	b.WriteString("| client | version |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(b, "| %s | %s |\n", name, versions[name])
	}
	b.WriteString("\n")
}

// write writes the table of one release: works down, clients across.
func (s *section) write(b *strings.Builder) {
	fmt.Fprintf(b, "## Kafka %s\n\n", s.version)
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
	fmt.Fprintf(b, "\nConnections to a broker's own address: %d.\n\n", s.leaks)
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(b, "- %s: %s\n", strings.Join(notes[note], "; "), note)
	}
	b.WriteString("\n")
}

// known explains what clients cannot do without kproxy either.
var known = []struct{ client, work, since, why string }{
	{"kcat", "SASL SCRAM", "4.0", "Debian's kcat has librdkafka 2.0.2, whose SCRAM Kafka 4 refuses (librdkafka#4895, mended in 2.6.1)"},
}

// note is what is to be said of a cell.
func (c *cell) note(version string) string {
	for _, k := range known {
		if c.outcome == alike && c.client.name == k.client && strings.HasPrefix(c.work.name, k.work) && lab.AtLeast(version, k.since) {
			return k.why
		}
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
