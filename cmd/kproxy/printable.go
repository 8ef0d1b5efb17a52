package main

import (
	"io"
	"strings"
	"unicode"
)

// printable writes text in which a cluster may have a say: names that brokers give. What
// could move a terminal's cursor, or worse, is left out.
type printable struct{ io.Writer }

// Write writes what of p can be printed.
func (w printable) Write(p []byte) (int, error) {
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(p))
	if _, err := io.WriteString(w.Writer, text); err != nil {
		return 0, err
	}
	return len(p), nil
}
