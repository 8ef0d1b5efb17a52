package doctor

import (
	"regexp"
	"strings"

	"github.com/rivo/uniseg"

	"kproxy/internal/foreign"
)

// Style is how a report is printed.
type Style struct {
	Width int  // of a line, in columns; less than 40: 80
	Color bool // by the ANSI sequences that every terminal has
}

const (
	usualWidth = 80
	leastWidth = 40
	codeIndent = "    "
	maxShown   = 3 // nodes of one verdict whose lines are printed; --json has all
)

// The colours. Each is one of the eight that terminals of dark and of light ground show.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	cyan   = "\x1b[36m"
	bold   = "\x1b[1m"
	normal = "\x1b[0m"
)

// printer writes a report into a text.
type printer struct {
	Style
	out strings.Builder
}

func (p *printer) paint(color, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return color + text + normal
}

// Mark paints a word of a result: ok, and the words of a failure. Others stay as they are.
func (s Style) Mark(word string) string {
	p := &printer{Style: s}
	switch word {
	case "ok":
		return p.paint(green, word)
	case "FAIL", "FAULT":
		return p.paint(red, word)
	default:
		return word
	}
}

// Wrap writes a text as the reports here have it: in lines of the width, the first with one
// indent and the others with another.
func (s Style) Wrap(b *strings.Builder, first, rest, text string) {
	if s.Width < leastWidth {
		s.Width = usualWidth
	}
	p := &printer{Style: s}
	p.wrap(first, rest, text)
	b.WriteString(p.out.String())
}

// wrap writes a text in lines of the width, the first with one indent and the others with
// another. Words are never broken.
func (p *printer) wrap(first, rest, text string) {
	line := first
	width := visible(first)
	empty := true
	for word := range strings.FieldsSeq(text) {
		w := visible(word)
		if !empty && width+1+w > p.Width {
			p.out.WriteString(line + "\n")
			line, width, empty = rest, visible(rest), true
		}
		if !empty {
			line += " "
			width++
		}
		line += word
		width += w
		empty = false
	}
	p.out.WriteString(line + "\n")
}

// escape is a sequence of paint's.
var escape = regexp.MustCompile("\x1b\\[[0-9]*m")

// visible is how many columns a text takes.
func visible(text string) int { return uniseg.StringWidth(escape.ReplaceAllString(text, "")) }

// code writes a line that is pasted: it is never broken. pasteable has checked it.
func (p *printer) code(line string) {
	p.out.WriteString(codeIndent + p.paint(bold, foreign.LineOf(line, maxPasted)) + "\n")
}
