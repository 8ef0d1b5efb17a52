//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"kproxy/e2e/lab"
)

// sample is the state of kproxy at one time.
type sample struct {
	Seconds    float64 `json:"seconds"` // since the load began
	RSS        float64 `json:"rss_bytes"`
	Heap       float64 `json:"heap_bytes"`
	Held       float64 `json:"held_bytes"`
	Files      float64 `json:"files"`
	Goroutines float64 `json:"goroutines"`
	Threads    float64 `json:"threads"`
	Sessions   float64 `json:"sessions"`
	CPU        float64 `json:"cpu_seconds"` // until now

	// The latency of a produced record since the last sample, in milliseconds.
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	DirectP50 float64 `json:"direct_p50_ms"`
	DirectP99 float64 `json:"direct_p99_ms"`
}

// column is a figure of the samples.
type column struct {
	Name, Unit, About string
	Of                func(sample) float64
	// Floor is the growth, within half a run, that says nothing. A column without one is not
	// judged.
	Floor float64
}

const mib = 1 << 20

// columns are in the order of the page.
func columns() []column {
	return []column{
		{"resident memory", "MiB", "VmRSS of the process", func(s sample) float64 { return s.RSS / mib }, 2},
		{"heap in use", "MiB", "Go's live and not yet collected objects, after a collection", func(s sample) float64 { return s.Heap / mib }, 0.5},
		{"held bytes", "KiB", "bytes of requests and responses that kproxy holds (kproxy_held_bytes)", func(s sample) float64 { return s.Held / 1024 }, 64},
		{"descriptors", "", "open files of the process", func(s sample) float64 { return s.Files }, 8},
		{"goroutines", "", "goroutines of the process", func(s sample) float64 { return s.Goroutines }, 8},
		{"threads", "", "threads of the process", func(s sample) float64 { return s.Threads }, 3},
		{"sessions", "", "open sessions (kproxy_sessions_active)", func(s sample) float64 { return s.Sessions }, 8},
		{Name: "latency p50", Unit: "ms", About: "of a record with acks=all, through kproxy", Of: func(s sample) float64 { return s.P50 }},
		{Name: "latency p99", Unit: "ms", About: "of a record with acks=all, through kproxy", Of: func(s sample) float64 { return s.P99 }},
		{Name: "latency p50, directly", Unit: "ms", About: "the same at the same time, without kproxy", Of: func(s sample) float64 { return s.DirectP50 }},
		{Name: "latency p99, directly", Unit: "ms", About: "the same at the same time, without kproxy", Of: func(s sample) float64 { return s.DirectP99 }},
	}
}

// usage reads the process and its metrics. A collection before it takes garbage, whose
// amount depends on the moment, out of the heap.
func (s *site) usage(ctx context.Context) (sample, error) {
	u := sample{}
	if _, err := s.net.Get(ctx, admin, "/debug/pprof/heap?gc=1"); err != nil {
		return u, err
	}
	metrics, err := s.net.Get(ctx, admin, "/metrics")
	if err != nil {
		return u, err
	}
	for name, field := range map[string]*float64{
		"go_memstats_heap_alloc_bytes": &u.Heap,
		"kproxy_held_bytes":            &u.Held,
		"go_goroutines":                &u.Goroutines,
		"process_cpu_seconds_total":    &u.CPU,
	} {
		if *field, err = lab.Value(metrics, name); err != nil {
			return u, err
		}
	}
	active, err := lab.Counts(metrics, "kproxy_sessions_active", "cluster", nil)
	if err != nil {
		return u, err
	}
	for _, n := range active {
		u.Sessions += float64(n)
	}
	return u, s.process(&u)
}

// process reads /proc.
func (s *site) process(u *sample) error {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.proc.PID()))
	if err != nil {
		return err
	}
	u.Files = float64(len(open))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.PID()))
	if err != nil {
		return err
	}
	for line := range bytes.Lines(status) {
		var n float64
		if _, err := fmt.Sscanf(string(line), "VmRSS: %f kB", &n); err == nil {
			u.RSS = n * 1024
		}
		if _, err := fmt.Sscanf(string(line), "Threads: %f", &n); err == nil {
			u.Threads = n
		}
	}
	if u.RSS == 0 || u.Threads == 0 {
		return errors.New("/proc has no VmRSS or no Threads of kproxy")
	}
	return nil
}
