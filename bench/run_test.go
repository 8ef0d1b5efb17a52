//go:build linux

package main

import (
	"io"
	"os"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// A target that has to warm up is kept for the next workload, as long as it lives,
// and until one that needs a new process.
func TestWarmTargetsAreKept(t *testing.T) {
	dir, err := os.MkdirTemp("", "kpb-test-") //nolint:usetesting // the suite's children are unprivileged and cannot enter t.TempDir
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	shop, err := newWorkshop(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shop.registry.close() }()
	s := &suite{
		plan: &plan{options: defaults()}, env: &env{workshop: shop, threads: 1}, ports: lab.NewPorts(),
		targets: []target{{name: "iocopy", start: startRelay, warmup: time.Millisecond}},
		report:  &report{}, progress: newProgress(io.Discard), kept: make(map[string]*running),
	}
	defer s.stopKept()
	broker := startFakeBroker(t)
	begin := func(w workload) *running {
		t.Helper()
		p, r, runs := &place{net: loopback, proxyHost: "127.0.0.1"}, &row{Target: "iocopy"}, make(map[*row]*running)
		s.begin(t.Context(), &stage{work: w, place: p, route: route{place: p, upstream: []string{broker}, brokers: []*server{{}}}}, r, runs)
		if runs[r] == nil || len(r.Notes) > 0 {
			t.Fatalf("not started: %q", r.Notes)
		}
		return runs[r]
	}
	first := begin(produceOf(256, 1))
	if begin(fetchOf(17, kib, 1)) != first {
		t.Error("the next workload has another process")
	}
	fresh := begin(asking("idle", idle, 1, ""))
	defer fresh.stop()
	if fresh == first {
		t.Error("a workload that needs a new process has not got one")
	}
	first.server.Kill()
	if again := begin(produceOf(256, 1)); again == first || s.kept["iocopy"] != again {
		t.Error("a process that had ended was kept")
	}
}
