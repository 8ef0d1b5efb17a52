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

// measured is a target's figure in a chart.
type measured struct {
	target, class string
	series        series
	behind        bool // it fell behind the rate, so a latency is that of a queue
}

// chart is empty if no target has the figure.
func (r *report) chart(w workload, name, unit string) chart {
	var all []measured
	for _, t := range r.Targets {
		row := r.row(t.Name, w.Name)
		behind := (name == p50 || name == p99) && strings.Contains(row.notes(), fellBehind)
		all = append(all, measured{t.Name, classOf(t), row.series(name), behind})
	}
	return newChart(w.Name, w.Describe(), unit, all)
}

func newChart(title, about, unit string, all []measured) chart {
	c := chart{Title: title, About: about, Unit: unit, Width: chartWidth}
	most := 0.0
	for _, m := range all {
		if _, greatest := m.series.spread(); greatest > most {
			most = greatest
		}
	}
	if most == 0 {
		return c
	}
	// If one target costs many times as much as the others, their bars would be too short
	// to see. Its bar ends at the edge, and its number stands beside it.
	most = min(most, 4*typical(all))
	const room = chartWidth - chartLabels - chartValues
	scale := func(v float64) float64 { return room * max(0, min(1, v/most)) }
	for _, m := range all {
		v := m.series.median()
		if math.IsNaN(v) {
			continue
		}
		least, greatest := m.series.spread()
		y := barPitch * len(c.Bars)
		b := bar{
			Target: m.target, Value: short(v), Title: spread(m.series) + " " + unit, Class: m.class,
			Y: y, Middle: y + barHeight/2, Length: scale(v),
			From: chartLabels + scale(least), To: chartLabels + scale(greatest),
		}
		if v > most {
			b.Value += " »" // the bar is cut
		}
		if m.behind {
			b.Value += " †"
		}
		b.TextX = max(b.To, chartLabels+b.Length) + 6
		c.Bars = append(c.Bars, b)
	}
	c.Height = barPitch * len(c.Bars)
	return c
}

// typical is the median of the targets' figures.
func typical(all []measured) float64 {
	var medians series
	for _, m := range all {
		if v := m.series.median(); v > 0 {
			medians = append(medians, v)
		}
	}
	return medians.median()
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
