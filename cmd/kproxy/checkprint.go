package main

import (
	"fmt"
	"io"
	"strings"

	"kproxy/internal/doctor"
	"kproxy/internal/live"
)

// writeLive prints findings for a person: one for each, with its level, its key and its fix, and
// for a complete check the number of those that were not possible.
func writeLive(w io.Writer, r *live.Report, isComplete bool, style doctor.Style) error {
	var b strings.Builder
	notes := 0
	for i := range r.Findings {
		f := &r.Findings[i]
		word := "ok"
		switch f.Level {
		case live.Fault:
			word = "FAULT"
		case live.Note:
			word = "note"
			notes++
		case live.OK:
		}
		const column = "       " // of the text: behind the longest word
		style.Wrap(&b, style.Mark(word)+column[len(word):], column, f.Key+": "+f.Says)
		if f.Fix != "" {
			style.Wrap(&b, column, column, "fix: "+f.Fix)
		}
	}
	switch {
	case r.Faults() > 0 || !isComplete:
	case notes == 0:
		b.WriteString("There is no fault.\n")
	default:
		fmt.Fprintf(&b, "There is no fault, and %s.\n", map[bool]string{true: "1 check was not possible", false: fmt.Sprintf("%d checks were not possible", notes)}[notes == 1])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
