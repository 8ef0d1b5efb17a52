//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"time"
)

const (
	// maxLine is the longest line of a suite's output that is read as one.
	maxLine = 1 << 20
	// tailLines is how many of a test's last lines are kept.
	tailLines = 12
)

// tail keeps a test's last lines.
type tail []string

func (t *tail) add(line string) {
	*t = append(*t, clean(line))
	if len(*t) > tailLines {
		*t = (*t)[1:]
	}
}

func (t tail) String() string { return strings.Join(t, "\n") }

// lines reads output line by line. Longer lines than maxLine are cut into several.
func lines(output io.Reader, each func(line string)) error {
	r := bufio.NewReaderSize(output, maxLine)
	for {
		line, _, err := r.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		each(string(line))
	}
}

// goEvent is an event of `go tool test2json`.
type goEvent struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// name is the test's name, with its package if the events of several are read.
func (e goEvent) name() string {
	if e.Package == "" {
		return e.Test
	}
	return e.Package + "." + e.Test
}

// parseGoTest reads the events of a Go test binary. A test that was started and has no end
// is unfinished.
func parseGoTest(output io.Reader, note func(name string, r result)) error {
	outcomes := map[string]outcome{"pass": passed, "fail": failed, "skip": skipped}
	running := map[string]*tail{}
	var last tail // lines of no test, such as a panic's
	err := lines(output, func(line string) {
		var e goEvent
		if json.Unmarshal([]byte(line), &e) != nil || e.Test == "" {
			last.add(strings.TrimRight(e.Output, "\n"))
			return
		}
		t := running[e.name()]
		if t == nil {
			t = &tail{}
			running[e.name()] = t
		}
		if e.Action == "output" {
			if text := strings.TrimSpace(e.Output); text != "" && !strings.HasPrefix(text, "=== ") {
				t.add(strings.TrimRight(e.Output, "\n"))
			}
			return
		}
		if o, ok := outcomes[e.Action]; ok {
			r := result{outcome: o, took: time.Duration(e.Elapsed * float64(time.Second))}
			if o != passed {
				r.why = t.String()
			}
			note(e.name(), r)
			delete(running, e.name())
		}
	})
	for name, t := range running {
		note(name, result{outcome: unfinished, why: t.String() + "\n" + last.String()})
	}
	return err
}
