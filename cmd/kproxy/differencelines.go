package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
)

// printDifferences writes a line for each difference: + for added, - for removed, ~ for
// changed. A line wider than helpWidth is broken between words, and indented.
func printDifferences(w io.Writer, all []admin.Difference) error {
	for _, d := range all {
		sign, value := "~", d.Was+" -> "+d.Now
		switch d.Kind {
		case admin.Added:
			sign, value = "+", d.Now
		case admin.Removed:
			sign, value = "-", d.Was
		case admin.Changed:
		}
		line := sign + " " + foreign.LineOf(d.Key, maxShown)
		if value != "" {
			line += ":"
		}
		if _, err := fmt.Fprintln(w, broken(line, foreign.LineOf(value, 2*maxShown+len(" -> ")))); err != nil {
			return err
		}
	}
	return nil
}

// broken returns a head and the text behind it in lines of helpWidth columns.
func broken(head, text string) string {
	const indent = "    "
	lines, line := []string{}, head
	if utf8.RuneCountInString(head)+1+utf8.RuneCountInString(text) > helpWidth {
		lines, line = append(lines, head), ""
	}
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = indent + word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > helpWidth:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
