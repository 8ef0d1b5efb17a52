package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kproxy/internal/recent"
)

// chart is a drawing of numbers over the last ten minutes: areas that lie on one another. The newest number
// is at the right.
type chart struct {
	Title string
	Areas []area // the lowest first
	Now   string // the newest sum
	Most  string // the highest
	About string // the whole as a sentence
	Empty bool   // there is no number yet
	Width int
	High  int
}

// area is one of the numbers.
type area struct {
	Name string
	Now  string
	Path string // of SVG
	Kind int    // its place, from 0
}

// The size of a drawing. It is stretched to the place that it has.
const (
	chartWidth, chartHeight = 600, 120
	sparkWidth, sparkHeight = 240, 32
)

// part is a number of a chart: the sum of some kinds.
type part struct {
	name  string
	kinds []recent.Kind
}

// chartsOf draws the numbers of all listeners.
func chartsOf(w *recent.Window) []chart {
	const copied, spliced = "copied", "spliced"
	return []chart{
		draw("To clients", &w.All, w.Spans, chartWidth, chartHeight, bytesText, part{spliced, []recent.Kind{recent.DownSpliced}}, part{copied, []recent.Kind{recent.DownCopied}}),
		draw("To brokers", &w.All, w.Spans, chartWidth, chartHeight, bytesText, part{spliced, []recent.Kind{recent.UpSpliced}}, part{copied, []recent.Kind{recent.UpCopied}}),
		draw("Requests", &w.All, w.Spans, chartWidth, chartHeight, perSecond, part{"requests", []recent.Kind{recent.Requests}}),
		draw("Connections", &w.All, nil, chartWidth, chartHeight, countText, part{"connections", []recent.Kind{recent.Connections}}),
	}
}

// sparksOf draws the numbers of one listener.
func sparksOf(s *recent.Series, spans []time.Duration) []chart {
	return []chart{
		draw("Bytes", s, spans, sparkWidth, sparkHeight, bytesText, part{"bytes", []recent.Kind{recent.UpCopied, recent.UpSpliced, recent.DownCopied, recent.DownSpliced}}),
		draw("Requests", s, spans, sparkWidth, sparkHeight, perSecond, part{"requests", []recent.Kind{recent.Requests}}),
		draw("Connections", s, nil, sparkWidth, sparkHeight, countText, part{"connections", []recent.Kind{recent.Connections}}),
	}
}

// draw draws parts, divided by spans: rates. Without spans they are no rates.
func draw(title string, s *recent.Series, spans []time.Duration, width, high int, text func(float64) string, parts ...part) chart {
	c := chart{Title: title, Width: width, High: high}
	n := len(s[parts[0].kinds[0]])
	tops := make([][]float64, len(parts)+1) // the upper edge of each part; the first one is the ground
	tops[0] = make([]float64, n)
	most := 0.0
	for i, p := range parts {
		tops[i+1] = make([]float64, n)
		for at := range n {
			number := 0.0
			for _, k := range p.kinds {
				number += float64(s[k][at])
			}
			if spans != nil {
				number /= max(spans[at].Seconds(), 0.001)
			}
			tops[i+1][at] = tops[i][at] + number
			most = max(most, tops[i+1][at])
		}
	}
	if c.Empty = n == 0; c.Empty {
		c.About = "no numbers yet; the first one comes after five seconds"
	} else {
		c.Now, c.Most = text(tops[len(parts)][n-1]), text(most)
		c.About = fmt.Sprintf("%s over the last ten minutes: now %s, at most %s", title, c.Now, c.Most)
	}
	for i, p := range parts {
		a := area{Name: p.name, Kind: i, Path: outline(tops[i], tops[i+1], most, width, high)}
		if n > 0 {
			a.Now = text(tops[i+1][n-1] - tops[i][n-1])
		}
		c.Areas = append(c.Areas, a)
	}
	return c
}

// outline returns the SVG path of the area between two lines of numbers; most is at the upper edge.
func outline(low, top []float64, most float64, width, high int) string {
	n := len(top)
	if n == 0 {
		return ""
	}
	if n == 1 { // or it would have no width
		low, top, n = []float64{low[0], low[0]}, []float64{top[0], top[0]}, 2
	}
	x := func(i int) float64 { return float64(width) * (1 - float64(n-1-i)/(recent.Points-1)) }
	y := func(number float64) float64 {
		if most == 0 {
			return float64(high)
		}
		return float64(high) - (float64(high)-1)*number/most
	}
	var b strings.Builder
	move := byte('M')
	for i := range n {
		b.WriteByte(move)
		point(&b, x(i), y(top[i]))
		move = 'L'
	}
	for i := n - 1; i >= 0; i-- {
		b.WriteByte('L')
		point(&b, x(i), y(low[i]))
	}
	b.WriteByte('Z')
	return b.String()
}

func point(b *strings.Builder, x, y float64) {
	b.WriteString(strconv.FormatFloat(x, 'f', 0, 64))
	b.WriteByte(' ')
	b.WriteString(strconv.FormatFloat(y, 'f', 1, 64))
}

// bytesText is a rate of bytes in words.
func bytesText(n float64) string { return scaled(n, "B/s") }

// perSecond is a rate in words.
func perSecond(n float64) string { return scaled(n, "/s") }

func scaled(n float64, unit string) string {
	prefixes := []string{"", "k", "M", "G", "T"}
	i := 0
	for n >= 999.5 && i < len(prefixes)-1 {
		n /= 1000
		i++
	}
	digits := 0
	if n < 9.95 && (i > 0 || n > 0) {
		digits = 1
	}
	text := strconv.FormatFloat(n, 'f', digits, 64)
	if unit[0] == '/' {
		return text + prefixes[i] + unit
	}
	return text + " " + prefixes[i] + unit
}

func countText(n float64) string { return grouped(int64(n)) }

// grouped writes a number that is not below 0 with a comma before each three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// spanOf is a time in words, in its two largest units.
func spanOf(d time.Duration) string {
	seconds := int64(max(d, 0) / time.Second)
	for _, u := range []struct {
		size, next int64
		name, sub  string
	}{{86400, 3600, "d", "h"}, {3600, 60, "h", "min"}, {60, 1, "min", "s"}} {
		if seconds >= u.size {
			text := fmt.Sprintf("%d %s", seconds/u.size, u.name)
			if rest := seconds % u.size / u.next; rest > 0 && seconds < 100*u.size {
				text += fmt.Sprintf(" %d %s", rest, u.sub)
			}
			return text
		}
	}
	return fmt.Sprintf("%d s", seconds)
}
