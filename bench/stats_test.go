//go:build linux

package main

import (
	"math"
	"testing"
)

func TestSeries(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name                    string
		s                       series
		median, least, greatest float64
	}{
		{"empty", nil, nan, nan, nan},
		{"nothing measured", series{nan, nan}, nan, nan, nan},
		{"one", series{3}, 3, 3, 3},
		{"odd", series{5, 1, 3}, 3, 1, 5},
		{"even", series{4, 1, 2, 10}, 3, 1, 10},
		{"a round that failed", series{nan, 2, 8}, 5, 2, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			least, greatest := c.s.spread()
			if got := c.s.median(); !same(got, c.median) || !same(least, c.least) || !same(greatest, c.greatest) {
				t.Errorf("got %v (%v..%v), want %v (%v..%v)", got, least, greatest, c.median, c.least, c.greatest)
			}
		})
	}
}

// A ratio is one of the same round: a machine that slows down slows both.
func TestRatiosArePaired(t *testing.T) {
	ours, theirs := series{1, 2, 4, math.NaN()}, series{2, 4, 8, 1}
	got := ours.over(theirs)
	least, greatest := got.spread()
	if got.median() != 0.5 || least != 0.5 || greatest != 0.5 {
		t.Errorf("got %v, want 0.5 in each round", got)
	}
	if got := (series{1}).over(series{0}); !math.IsNaN(got[0]) {
		t.Errorf("1 over 0: got %v, want none", got)
	}
	if got := (series{5, 7}).less(series{1, 2}); got[0] != 4 || got[1] != 5 {
		t.Errorf("got %v, want 4 and 5", got)
	}
	if got := (series{1, 2}).over(nil); len(got) != 0 {
		t.Errorf("over nothing: got %v", got)
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
