package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// samplesOf an hour.
const samplesOf = 360

// figure is level, noise and a slope per sample.
func figure(random *rand.Rand, level, noise, slope float64) []float64 {
	values := make([]float64, samplesOf)
	for i := range values {
		values[i] = level + noise*random.NormFloat64() + slope*float64(i)
	}
	return values
}

func TestJudge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	warm := figure(random, 40, 1, 0)
	for i := range samplesOf / 2 {
		warm[i] = 20 + 20*float64(i)/(samplesOf/2)
	}
	spiky := figure(random, 200, 1, 0)
	for i := 0; i < samplesOf; i += 17 {
		spiky[i] = 900
	}
	steps := figure(random, 100, 0, 0)
	for i := range steps {
		steps[i] += float64(i / 30) // one file in five minutes
	}
	for _, tt := range []struct {
		name   string
		values []float64
		floor  float64
		grows  bool
	}{
		{"constant", figure(random, 16, 0, 0), 8, false},
		{"zero", figure(random, 0, 0, 0), 8, false},
		{"noise", figure(random, 200, 20, 0), 8, false},
		{"spikes", spiky, 8, false},
		{"warm after half the run", warm, 2, false},
		{"falls", figure(random, 200, 2, -0.5), 8, false},
		{"grows by less than is allowed", figure(random, 1000, 1, 0.05), 8, false},
		{"a leak in noise", figure(random, 200, 20, 0.4), 8, true},
		{"a small leak", figure(random, 40, 0.5, 0.02), 2, true},
		{"a leak in steps", steps, 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := judge(tt.values, tt.floor)
			if err != nil {
				t.Fatal(err)
			}
			if g.Grows != tt.grows {
				t.Errorf("got %v, want grows %v: %+v", g, tt.grows, g)
			}
			if g.Low > g.Sen || g.Sen > g.High {
				t.Errorf("got growth %v outside of its interval %v to %v", g.Sen, g.Low, g.High)
			}
		})
	}
}

// TestJudgeMeasures compares the growth with that of the samples.
func TestJudgeMeasures(t *testing.T) {
	g, err := judge(figure(rand.New(rand.NewPCG(3, 4)), 100, 5, 0.5), 8)
	if err != nil {
		t.Fatal(err)
	}
	if want := 0.5 * samplesOf / 2; math.Abs(g.Sen-want) > want/10 {
		t.Errorf("got growth %v, want about %v", g.Sen, want)
	}
}

// TestJudgeSeldomWrong wants few verdicts of growth where there is noise alone. The interval
// alone permits 2.5 of 100.
func TestJudgeSeldomWrong(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	wrong := 0
	for range 1000 {
		g, err := judge(figure(random, 100, 20, 0), 8)
		if err != nil {
			t.Fatal(err)
		}
		if g.Grows {
			wrong++
		}
	}
	if wrong > 25 {
		t.Errorf("%d of 1000 series without growth grow", wrong)
	}
}

func TestJudgeNeedsSamples(t *testing.T) {
	if g, err := judge(make([]float64, 2*blocks*perBlock-2), 1); err == nil {
		t.Errorf("got %+v, want an error", g)
	}
}
