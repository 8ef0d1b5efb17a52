//go:build linux

package main

import (
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	// runnerColour is an escape sequence of a terminal's colours.
	runnerColour = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// runnerLine is a line about one test: "[0012_produce_consume /  1.234s] text".
	runnerLine = regexp.MustCompile(`^\[(\d{4}_\w+)[^/\]]*/ *[0-9.]+s\] (.*)$`)
	// runnerState is a line that begins or ends a test.
	runnerState = regexp.MustCompile(`^=+ (Running test|Test) (\w+)(?: (PASSED|FAILED|SKIPPED))? =+`)
	// runnerSummary is a row of the table at the end.
	runnerSummary = regexp.MustCompile(`^\| *(\d{4}_\w+) +\| +(DNS|SKIPPED|RUNNING|PASSED|FAILED) \| +([0-9.]+)s \|(.*)$`)
)

// filtered are the tests that the run leaves out, in the table at the end: by -L and -E,
// and by TESTS_SKIP.
var filtered = []string{"Filtered due to negative test flags", "included in TESTS_SKIP list"}

// parseTestRunner reads the output of librdkafka's test-runner. The table at its end has
// the outcomes; a process that is killed may have none, and then the lines before count.
func parseTestRunner(output io.Reader, note func(name string, r result)) error {
	outcomes := map[string]outcome{"PASSED": passed, "FAILED": failed, "SKIPPED": skipped, "RUNNING": unfinished, "": unfinished}
	seen := map[string]result{}
	tails := map[string]*tail{}
	err := lines(output, func(line string) {
		line = runnerColour.ReplaceAllString(line, "")
		if m := runnerSummary.FindStringSubmatch(line); m != nil {
			took, _ := strconv.ParseFloat(m[3], 64) // the expression has checked it
			switch {
			case m[2] == "DNS" || slices.ContainsFunc(filtered, func(why string) bool { return strings.Contains(m[4], why) }):
				delete(seen, m[1])
			default:
				seen[m[1]] = result{outcome: outcomes[m[2]], took: time.Duration(took * float64(time.Second)), why: clean(strings.TrimSpace(m[4]))}
			}
			return
		}
		m := runnerLine.FindStringSubmatch(line)
		if m == nil {
			return
		}
		if tails[m[1]] == nil {
			tails[m[1]] = &tail{}
		}
		if text := strings.TrimSpace(m[2]); text != "" {
			tails[m[1]].add(text)
		}
		if state := runnerState.FindStringSubmatch(m[2]); state != nil {
			seen[state[2]] = result{outcome: outcomes[state[3]]}
			if state[3] != "" {
				note(state[2], seen[state[2]]) // for the progress; the rest follows at the end
			}
		}
	})
	for name, r := range seen {
		if r.outcome == failed || r.outcome == unfinished {
			if t := tails[name]; t != nil {
				r.why = strings.TrimSpace(t.String() + "\n" + r.why) // the table's words last
			}
		}
		note(name, r)
	}
	return err
}
