//go:build linux

package main

import (
	"math"
	"strings"
)

// chart is a bar for each target, with a whisker from the least to the greatest.
// Its numbers are those of an SVG, in pixels.
type chart struct {
	Title, About, Unit string
	Width, Height      int
	Bars               []bar
}

type bar struct {
	Target, Value, Title string
	Class                string // kproxy's bar is highlighted
	Y, Middle            int
	Length, From, To     float64
	TextX                float64
}

const (
	chartWidth  = 470
	chartLabels = 112 // in front of the bars
	chartValues = 62  // behind them
	barHeight   = 16
	barPitch    = 24
)

// fellBehind is the beginning of the note about a target that did not carry the pinned rate.
const fellBehind = "fell behind the pinned rate"

// chart is empty if no target has the figure.
func (r *report) chart(w workload, name, unit string) chart {
	c := chart{Title: w.Name, About: w.Describe(), Unit: unit, Width: chartWidth}
	most := 0.0
	for _, t := range r.Targets {
		if _, greatest := r.row(t.Name, w.Name).series(name).spread(); greatest > most {
			most = greatest
		}
	}
	if most == 0 {
		return c
	}
	// If one target costs many times as much as the others, their bars would be too short
	// to see. Its bar ends at the edge, and its number stands beside it.
	most = min(most, 4*r.typical(w, name))
	const room = chartWidth - chartLabels - chartValues
	scale := func(v float64) float64 { return room * max(0, min(1, v/most)) }
	for _, t := range r.Targets {
		s := r.row(t.Name, w.Name).series(name)
		v := s.median()
		if math.IsNaN(v) {
			continue
		}
		least, greatest := s.spread()
		y := barPitch * len(c.Bars)
		b := bar{
			Target: t.Name, Value: short(v), Title: spread(s) + " " + unit, Class: classOf(t),
			Y: y, Middle: y + barHeight/2, Length: scale(v),
			From: chartLabels + scale(least), To: chartLabels + scale(greatest),
		}
		if v > most {
			b.Value += " »" // the bar is cut
		}
		if (name == p50 || name == p99) && strings.Contains(r.row(t.Name, w.Name).notes(), fellBehind) {
			b.Value += " †"
		}
		b.TextX = max(b.To, chartLabels+b.Length) + 6
		c.Bars = append(c.Bars, b)
	}
	c.Height = barPitch * len(c.Bars)
	return c
}

// typical is the median of the targets' figures.
func (r *report) typical(w workload, name string) float64 {
	var all series
	for _, t := range r.Targets {
		if m := r.row(t.Name, w.Name).series(name).median(); m > 0 {
			all = append(all, m)
		}
	}
	return all.median()
}

func classOf(t *targetInfo) string {
	switch {
	case t.Name == kproxyName:
		return "ours"
	case t.Name == "direct":
		return "direct"
	case t.Blind:
		return "blind"
	default:
		return "other"
	}
}
