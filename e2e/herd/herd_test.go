//go:build e2e

package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// fewer is the test's size: enough clients to distinguish the memory for each from the
// constant part, in less than a minute.
var fewer = size{Herd: 600, Rounds: 1, Dawdlers: 600, Most: 200, Flood: 2 * time.Second, Calm: 300 * time.Millisecond}

func TestMain(m *testing.M) {
	played, err := playRole()
	if err != nil {
		fmt.Fprintln(os.Stderr, "herd:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
	if !played {
		os.Exit(m.Run()) //nolint:forbidigo // this is main
	}
}

// TestHerd plays each scene, and checks the requirements that hold on any machine.
// Durations are in the log, and are not checked.
func TestHerd(t *testing.T) {
	// Not the test's context: that ends before the test's cleanup, which asks the
	// children to end.
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := newSite(ctx, t.TempDir(), fewer, t.Logf)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range scenes(fewer) {
		t.Run(what.Name, func(t *testing.T) {
			o, err := s.play(ctx, what)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range o.lines() {
				t.Log(line)
			}
			t.Logf("memory: %d KiB at first, %d at most, of %d that are allowed more", o.Empty.RSS>>10, max(o.During.Peak, o.After.Peak)>>10, o.mostMemory()>>10)
			for _, wrong := range o.Wrong {
				t.Error(wrong)
			}
		})
	}
}
