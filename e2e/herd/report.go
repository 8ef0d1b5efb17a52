//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

const opening = `# Many clients at once

The effects of thousands of clients that come at one time, or come and do not go on, on kproxy and on a client
that has nothing to do with them. Written by ` + "`make herd`" + `, not to be edited.

` + "`go run ./e2e/herd`" + `, %[1]s, kproxy %[2]s; %[3]s. kproxy, the
clients, the untouched ones and a fake broker, all processes of their own, share the machine and its loopback.

- **The untouched clients** were there before, one in TLS and one in plaintext, and ask for Metadata every %[4]v, whether
  they have a response or not. Their columns are p50 / p99 / longest, in ms, from when a request was due to its response.
  **HAProxy** is one that goes through an HAProxy of its own to the same broker, beside kproxy, and **direct** one that
  goes past both: their latencies are the machine's. None of them may miss a response.
- **memory** is kproxy's: VmRSS before and after, VmHWM during. Descriptors and goroutines are counted once all clients have come.
- **Closed** is why kproxy's sessions ended; client_closed are the new clients, and the herd when it leaves.
- **All served**: from the cut until the last of the herd has a response to its ApiVersions. Certificates are ECDSA, P-256;
  clients that fail try again after 50 ms, doubled up to 1 s.%[5]s
`

// document is docs/herd.md.
func document(outcomes []*outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, opening, time.Now().UTC().Format(time.DateOnly), lab.Revision(), lab.Machine(), probeEvery, ratios(outcomes))
	for _, o := range outcomes {
		o.section(&b)
	}
	return b.String()
}

// ratios compares the herds with those at a bare TLS server.
func ratios(outcomes []*outcome) string {
	var parts []string
	for _, resume := range []bool{false, true} {
		var with, without time.Duration
		for _, o := range outcomes {
			switch {
			case len(o.Arrivals) == 0 || o.Kills || o.Resumes != resume:
			case o.Bare:
				without = o.whole()
			default:
				with = o.whole()
			}
		}
		if with > 0 && without > 0 {
			how := map[bool]string{false: "in full", true: "with tickets"}[resume]
			parts = append(parts, fmt.Sprintf("%s %.2f s by kproxy, %.2f s by a bare TLS server, %.1f times that", how, with.Seconds(), without.Seconds(), with.Seconds()/without.Seconds()))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " In the\n  median: " + strings.Join(parts, ";\n  ") + "."
}

// whole is the median of the times to whole.
func (o *outcome) whole() time.Duration {
	all := slices.SortedFunc(slices.Values(o.Arrivals), func(a, b arrival) int { return cmp.Compare(a.Whole, b.Whole) })
	return all[len(all)/2].Whole
}

func (o *outcome) section(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", o.Name, o.Done)
	b.WriteString("| | TLS | plaintext | HAProxy | direct | memory | descriptors | goroutines |\n|---|---|---|---|---|---|---|---|\n")
	row := func(name string, f, height figures, memory int64) {
		files, goroutines := "—", "—"
		if height.Files > 0 {
			files, goroutines = fmt.Sprint(height.Files), fmt.Sprint(height.Goroutines)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %d MiB | %s | %s |\n", name,
			f.Probes[overTLS].cell(), f.Probes[overPlain].cell(), f.Probes[haproxy].cell(), f.Probes[direct].cell(), memory>>20, files, goroutines)
	}
	row("before", o.Before, o.Before, o.Before.RSS)
	row("during", o.During, o.Height, o.During.Peak)
	row("after", o.After, o.After, o.After.RSS)
	b.WriteString("\n")
	for _, line := range o.lines() {
		b.WriteString("- " + line + "\n")
	}
}

// cell is p50, p99 and the longest, in milliseconds.
func (s seen) cell() string {
	if s.Asked == 0 {
		return "—"
	}
	return fmt.Sprintf("%.2f / %.2f / %.1f", float64(s.P50)/1000, float64(s.P99)/1000, float64(s.Max)/1000)
}

func (o *outcome) lines() (lines []string) {
	if len(o.Arrivals) > 0 {
		lines = append(lines, o.returns())
	}
	for _, how := range []string{overTLS, overPlain} {
		if took := slices.Sorted(slices.Values(o.Newcomers[how])); len(took) > 0 {
			lines = append(lines, fmt.Sprintf("New clients meanwhile (%s): %d were served, median %s, longest %s.",
				how, len(took), ms(took[len(took)/2]), ms(took[len(took)-1])))
		}
	}
	for _, note := range o.Notes {
		lines = append(lines, note+".")
	}
	if !o.Bare {
		lines = append(lines, fmt.Sprintf("Closed: %s. Lines of log: %d.", reasons(o.Closed), o.During.LogLines-o.Before.LogLines))
		if !o.Kills {
			lines = append(lines, fmt.Sprintf("kproxy's CPU: %.1f s.", (o.During.CPU-o.Before.CPU).Seconds()))
		}
	}
	for _, wrong := range o.Wrong {
		lines = append(lines, "**"+wrong+"**")
	}
	return lines
}

func (o *outcome) returns() string {
	var parts []string
	again, resumed := 0, 0
	for _, a := range o.Arrivals {
		parts = append(parts, fmt.Sprintf("%.2f s (half of them %.2f s)", a.Whole.Seconds(), a.Median.Seconds()))
		again, resumed = again+a.Again, resumed+a.Resumed
	}
	return fmt.Sprintf("All served after %s; %d tries failed, %d sessions were resumed.", strings.Join(parts, ", "), again, resumed)
}

func reasons(closed map[string]int) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(closed)) {
		all = append(all, fmt.Sprintf("%s %d", reason, closed[reason]))
	}
	return strings.Join(all, ", ")
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
