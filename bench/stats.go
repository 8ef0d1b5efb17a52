//go:build linux

package main

import (
	"math"
	"slices"
)

// series is one figure of one target, by round; a round without it has NaN.
type series []float64

// known has the rounds that have a figure.
func (s series) known() series {
	return slices.DeleteFunc(slices.Clone(s), math.IsNaN)
}

// median is NaN where nothing was measured.
func (s series) median() float64 {
	k := slices.Sorted(slices.Values(s.known()))
	n := len(k)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return k[n/2]
	default:
		return (k[n/2-1] + k[n/2]) / 2
	}
}

// spread is the least and the greatest.
func (s series) spread() (least, greatest float64) {
	k := s.known()
	if len(k) == 0 {
		return math.NaN(), math.NaN()
	}
	return slices.Min(k), slices.Max(k)
}

// over is the ratio to another series, round by round: the two were measured
// within seconds of each other.
func (s series) over(other series) series {
	return combine(s, other, func(a, b float64) float64 {
		if b <= 0 {
			return math.NaN()
		}
		return a / b
	})
}

// less is the difference to another series, round by round.
func (s series) less(other series) series {
	return combine(s, other, func(a, b float64) float64 { return a - b })
}

func combine(a, b series, f func(a, b float64) float64) series {
	out := make(series, min(len(a), len(b)))
	for i := range out {
		out[i] = f(a[i], b[i])
	}
	return out
}
