package page

import (
	"testing"
	"time"

	"kproxy/internal/recent"
)

func TestChart(t *testing.T) {
	t.Parallel()
	var w recent.Window
	for k := range w.All {
		w.All[k] = []int64{0, 0, 0}
	}
	w.All[recent.DownSpliced], w.All[recent.DownCopied] = []int64{0, 5_000_000, 10_000}, []int64{50, 5_000_000, 20_000}
	w.All[recent.Connections] = []int64{0, 4, 2}
	w.Spans = []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second}
	all := chartsOf(&w)
	for i, want := range []struct{ about, last string }{
		{"To clients over the last ten minutes: now 3.0 kB/s, at most 2.0 MB/s", "2.0 kB/s"},
		{"To brokers over the last ten minutes: now 0 B/s, at most 0 B/s", "0 B/s"},
		{"Requests over the last ten minutes: now 0/s, at most 0/s", "0/s"},
		{"Connections over the last ten minutes: now 2, at most 4", "2"},
	} {
		if got := all[i]; got.About != want.about || got.Areas[len(got.Areas)-1].Now != want.last {
			t.Errorf("got %q, %q, want %+v", got.About, got.Areas[len(got.Areas)-1].Now, want)
		}
	}
	// The newest number is at the right edge, the highest at the upper one.
	if got, want := all[3].Areas[0].Path, "M590 120.0L595 1.0L600 60.5L600 120.0L595 120.0L590 120.0Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := all[0].Areas[1].Path, "M590 120.0L595 1.0L600 119.8L600 119.9L595 60.5L590 120.0Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if empty := chartsOf(new(recent.Window)); !empty[0].Empty || empty[0].Areas[0].Path != "" {
		t.Errorf("%+v", empty[0])
	}
}

func TestScaled(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{0: "0 B/s", 0.2: "0.2 B/s", 7: "7.0 B/s", 42.4: "42 B/s", 999: "999 B/s", 999.6: "1.0 kB/s", 12_345: "12 kB/s", 5e9: "5.0 GB/s", 5e18: "5000000 TB/s"} {
		if got := bytesText(n); got != want {
			t.Errorf("%v: got %q, want %q", n, got, want)
		}
	}
	if got := perSecond(1500); got != "1.5k/s" {
		t.Errorf("got %q", got)
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 20_898: "20,898", 1_234_567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s", 3 * time.Hour: "3 h",
		49*time.Hour + time.Minute: "2 d 1 h", 400*24*time.Hour + time.Hour: "400 d",
	} {
		if got := spanOf(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
