//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The size of a chart's SVG, and of the room for its numbers.
const (
	chartWidth  = 340
	chartHeight = 130
	chartLeft   = 44
	chartBottom = 18
	chartTop    = 8
)

// chart is a figure over the time of the run.
type chart struct {
	column
	Growth        *growth // nil: the figure is not judged
	Width, Height int
	Line          string // points of a polyline
	Half          float64
	HalfWidth     float64
	Left, Top     float64
	Bottom, Plot  float64
	Ticks         []tick
	Start, End    string
	Summary       string
}

type tick struct {
	Y    float64
	Text string
}

// Charts are for the page.
func (r *report) Charts() []chart {
	var all []chart
	for _, c := range columns() {
		if len(r.Samples) > 1 {
			all = append(all, r.chart(c))
		}
	}
	return all
}

func (r *report) chart(of column) chart {
	c := chart{
		column: of, Width: chartWidth, Height: chartHeight, Left: chartLeft, Top: chartTop,
		Bottom: chartHeight - chartBottom, Plot: chartHeight - chartBottom - chartTop,
		Start: "0", End: r.Took().Round(time.Minute).String(),
	}
	if i := slices.IndexFunc(r.Growth, func(g growth) bool { return g.Figure == of.Name }); i >= 0 {
		c.Growth = &r.Growth[i]
	}
	values := r.values(of)
	top := ceiling(slices.Max(values))
	end := r.Samples[len(r.Samples)-1].Seconds
	x := func(seconds float64) float64 { return chartLeft + (chartWidth-chartLeft-4)*seconds/end }
	y := func(v float64) float64 { return c.Bottom - (c.Bottom-chartTop)*v/top }
	var line strings.Builder
	for i, v := range values {
		fmt.Fprintf(&line, "%.1f,%.1f ", x(r.Samples[i].Seconds), y(v))
	}
	c.Line = line.String()
	c.Half = x(r.Samples[len(r.Samples)/2].Seconds)
	c.HalfWidth = x(end) - c.Half
	for _, v := range []float64{0, top / 2, top} {
		c.Ticks = append(c.Ticks, tick{y(v), label(v)})
	}
	c.Summary = fmt.Sprintf("median %s, most %s %s", short(median(values)), short(slices.Max(values)), of.Unit)
	return c
}

// ceiling is a round number that is not less than v.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 6, 8} {
		if v <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

func label(v float64) string { return fmt.Sprintf("%.4g", v) }
