// Package columns writes tables that fit a terminal of 80 columns, also where hosts have
// long names.
package columns

import (
	"io"
	"strings"
	"unicode/utf8"

	"kproxy/internal/foreign"
)

// Width is the width of a table, in columns of a terminal, as far as possible.
const Width = 80

const (
	indent = "  "
	gap    = "  "
)

// Table is an indented table. Where its columns do not fit beside each other into Width,
// the last ones follow below each row, a line each. A cell is one line of bounded length,
// also where a peer wrote its text.
type Table struct{ rows [][]string }

// New returns a table with these columns.
func New(columns ...string) *Table { return &Table{rows: [][]string{columns}} }

// Line adds a row, which has a cell for each column.
func (t *Table) Line(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = foreign.Line(cell) // it may be a broker's
	}
	t.rows = append(t.rows, row)
}

// Write writes the table. A nil table is empty.
func (t *Table) Write(w io.Writer) error {
	if t == nil {
		return nil
	}
	widths, beside := t.layout()
	header := t.rows[0]
	var b strings.Builder
	for i, row := range t.rows {
		b.WriteString(indent)
		for c := range beside {
			b.WriteString(row[c])
			if c < beside-1 {
				b.WriteString(strings.Repeat(" ", widths[c]-utf8.RuneCountInString(row[c])) + gap)
			}
		}
		b.WriteString("\n")
		for c := beside; i > 0 && c < len(row); c++ {
			b.WriteString(indent + indent + strings.ToLower(header[c]) + " " + row[c] + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// layout is the widths of the columns, and the number of those that fit beside each
// other; at least one.
func (t *Table) layout() (widths []int, beside int) {
	widths = make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	total := len(indent)
	for c, width := range widths {
		if total += width; c > 0 && total > Width {
			return widths, c
		}
		total += len(gap)
	}
	return widths, len(widths)
}
