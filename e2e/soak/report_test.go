//go:build linux

package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hour is a report of a run that ended, whose goroutines grow by slope with each sample.
func hour(slope float64) *report {
	random := rand.New(rand.NewPCG(7, 8))
	r := &report{Planned: "1h0m0s", Ended: true, Counts: map[string]int{"reloads": 3}}
	for i := range samplesOf {
		r.Samples = append(r.Samples, sample{
			Seconds: 10 * float64(i+1), RSS: 40 * mib, Heap: 5 * mib, Files: 100, Threads: 8, Sessions: 50,
			Goroutines: 100 + random.NormFloat64() + slope*float64(i),
		})
	}
	r.judge()
	return r
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name  string
		slope float64
		also  func(*report)
		want  string // in the error; "": none
	}{
		{"whole", 0, nil, ""},
		{"a leak", 0.2, nil, "goroutines: grows by"},
		{"cut", 0, func(r *report) { r.Ended = false }, "the run did not end"},
		{"a fault", 0, func(r *report) { r.Faults = []string{"reload 3: refused"} }, "reload 3: refused"},
		{"few samples", 0, func(r *report) { r.Samples = r.Samples[:10]; r.judge() }, "not enough samples"},
		{"one sample is missing", 0, func(r *report) { r.Counts[missed] = 1 }, ""},
		{"many samples are missing", 0, func(r *report) { r.Counts[missed] = samplesOf }, "360 samples were missed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := hour(tt.slope)
			if tt.also != nil {
				tt.also(r)
			}
			err := r.verdict()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if r.Good() != (tt.want == "") {
				t.Errorf("got good %v: %s", r.Good(), r.Text())
			}
		})
	}
}

func TestAtRest(t *testing.T) {
	before := sample{Files: 13, Goroutines: 21, Heap: 3 * mib}
	for _, tt := range []struct {
		name  string
		after sample
		want  string
	}{
		{"the same", before, ""},
		{"a session", sample{Files: 13, Goroutines: 21, Heap: 3 * mib, Sessions: 1}, "1 sessions"},
		{"held bytes", sample{Files: 13, Goroutines: 21, Heap: 3 * mib, Held: 7}, "7 held bytes"},
		{"files", sample{Files: 24, Goroutines: 21, Heap: 3 * mib}, "24 descriptors"},
		{"goroutines", sample{Files: 13, Goroutines: 32, Heap: 3 * mib}, "32 goroutines"},
		{"heap", sample{Files: 13, Goroutines: 21, Heap: 9 * mib}, "bytes of heap"},
	} {
		r := &report{Before: before, After: tt.after}
		if err := r.atRest(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestFound wants a planted leak to be missed by a run in which its figure does not grow.
func TestFound(t *testing.T) {
	s := &site{}
	leaks, err := options{Plant: "goroutines"}.planted()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.found(hour(0.2), leaks); err != nil {
		t.Error(err)
	}
	if err := s.found(hour(0), leaks); err == nil {
		t.Error("goroutines do not grow: got no error")
	}
	if _, err := (options{Plant: "memory,nothing"}).planted(); err == nil {
		t.Error("a leak that is not known: got no error")
	}
}

// TestPages wants the pages that a run writes, and the same from its JSON.
func TestPages(t *testing.T) {
	out := filepath.Join(t.TempDir(), "dist", "soak")
	if err := hour(0.2).write(out); err != nil {
		t.Fatal(err)
	}
	read := func(ext string) string {
		t.Helper()
		text, err := os.ReadFile(out + ext)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	html, md := read(".html"), read(".md")
	for page, wants := range map[string][]string{
		html: {"<svg", "goroutines", `class="pill bad">grows`, "prefers-color-scheme: dark", "width=device-width"},
		md:   {"| goroutines |", "| grows |", "| without load | before | after |", "go run ./e2e/soak -t 1h0m0s"},
	} {
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("a page lacks %q", want)
			}
		}
	}
	if n := strings.Count(html, "<polyline"); n != len(columns()) {
		t.Errorf("got %d charts, want %d", n, len(columns()))
	}
	for _, text := range []string{"http://", "https://", "<script", "<link"} {
		if strings.Contains(html, text) {
			t.Errorf("the page has %q: it needs something from elsewhere", text)
		}
	}
	if err := again(out + ".json"); err != nil {
		t.Fatal(err)
	}
	if read(".html") != html || read(".md") != md {
		t.Error("the pages differ when they are written again from the JSON")
	}
}
