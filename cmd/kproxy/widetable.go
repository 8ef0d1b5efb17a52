package main

import (
	"io"
	"strings"
	"unicode/utf8"

	"kproxy/internal/foreign"
)

// tableWidth is how many columns of a terminal a table takes, as far as it can.
const tableWidth = 80

// wideTable is an indented table for long names. Where its columns do not fit side by
// side into tableWidth, the last ones follow below each row, a line each. A cell is one
// line of bounded length, also where a peer wrote its text.
type wideTable struct{ rows [][]string }

func newWideTable(columns ...string) *wideTable { return &wideTable{rows: [][]string{columns}} }

func (t *wideTable) line(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = foreign.Line(cell) // it may be a broker's
	}
	t.rows = append(t.rows, row)
}

// flush writes the table. There is nothing to write of a nil table.
func (t *wideTable) flush(w io.Writer) error {
	if t == nil {
		return nil
	}
	widths, beside := t.layout()
	header := t.rows[0]
	var b strings.Builder
	for i, row := range t.rows {
		b.WriteString(tableIndent)
		for c := range beside {
			b.WriteString(row[c])
			if c < beside-1 {
				b.WriteString(strings.Repeat(" ", widths[c]-utf8.RuneCountInString(row[c])) + tableGap)
			}
		}
		b.WriteString("\n")
		for c := beside; i > 0 && c < len(row); c++ {
			b.WriteString(tableIndent + tableIndent + strings.ToLower(header[c]) + " " + row[c] + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const (
	tableIndent = "  "
	tableGap    = "  "
)

// layout is how wide the columns are, and how many of them fit beside each other; one
// always does.
func (t *wideTable) layout() (widths []int, beside int) {
	widths = make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	total := len(tableIndent)
	for c, width := range widths {
		if total += width; c > 0 && total > tableWidth {
			return widths, c
		}
		total += len(tableGap)
	}
	return widths, len(widths)
}
