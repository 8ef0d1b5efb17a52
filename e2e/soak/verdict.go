package main

import (
	"fmt"
	"math"
	"slices"
)

const (
	// blocks is the number of parts of the second half of a run. The medians of the parts
	// depend on each other less than samples do.
	blocks = 12
	// perBlock is the least number of samples of a part.
	perBlock = 3
	// share of a figure's level is the growth, within half a run, that says nothing.
	share = 0.02
)

// growth is the trend of a figure in the second half of a run.
type growth struct {
	Figure string  `json:"figure"`
	Unit   string  `json:"unit,omitempty"`
	First  float64 `json:"first_half_median"`
	Level  float64 `json:"second_half_median"`
	Most   float64 `json:"maximum"`
	// Sen is the growth within the half by Sen's slope of the parts' medians. Low and High
	// are its 95 % interval.
	Sen  float64 `json:"growth"`
	Low  float64 `json:"growth_low"`
	High float64 `json:"growth_high"`
	// Allowed is the growth that says nothing.
	Allowed float64 `json:"allowed"`
	Grows   bool    `json:"grows"`
}

// String is the verdict in a few words.
func (g growth) String() string {
	if g.Grows {
		return "grows"
	}
	return "within noise"
}

// judge computes the trend of a figure, whose values come at equal intervals. The figure
// grows if the whole interval is above 0, and the growth is more than floor and a share of
// the level.
func judge(values []float64, floor float64) (growth, error) {
	half := values[len(values)/2:]
	if len(half) < blocks*perBlock {
		return growth{}, fmt.Errorf("%d samples are in the second half, at least %d are needed", len(half), blocks*perBlock)
	}
	medians := make([]float64, blocks)
	for i := range medians {
		medians[i] = median(half[i*len(half)/blocks : (i+1)*len(half)/blocks])
	}
	g := growth{First: median(values[:len(values)/2]), Level: median(half), Most: slices.Max(values)}
	g.Sen, g.Low, g.High = sen(medians)
	for _, v := range []*float64{&g.Sen, &g.Low, &g.High} {
		*v *= blocks
	}
	g.Allowed = max(floor, share*g.Level)
	g.Grows = g.Low > 0 && g.Sen > g.Allowed
	return g, nil
}

// sen is the median of the slopes between all pairs of values, with the 95 % interval that
// Kendall's statistic gives it. Neither one supposes a distribution, and a few outliers
// change neither.
func sen(values []float64) (slope, low, high float64) {
	var slopes []float64
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
		}
	}
	slices.Sort(slopes)
	n, pairs := float64(len(values)), float64(len(slopes))
	const z = 1.96
	c := z * math.Sqrt(n*(n-1)*(2*n+5)/18)
	at := func(rank float64) float64 {
		return slopes[min(max(int(math.Round(rank)), 0), len(slopes)-1)]
	}
	return median(slopes), at((pairs-c)/2 - 1), at((pairs + c) / 2)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
