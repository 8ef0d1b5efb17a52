//go:build failpoints

package simulate

import (
	"flag"
	"os"
	"slices"
	"testing"

	"kproxy/internal/relay"
)

var withFaults = flag.Int("simulate.failpoints", 40, "how many seeds are run over sockets whose system calls fail")

// oneIn is how many system calls there are for one that fails.
const oneIn = 12

// TestFailpoints runs scripts over sockets while the system calls of the hot path fail: first in
// ways that no client may notice, then in ways that end sessions.
func TestFailpoints(t *testing.T) {
	if *workerCount > 0 {
		t.Skip("this is a worker")
	}
	for name, hard := range map[string]bool{"soft": false, "hard": true} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			faults := relay.Arm(*firstSeed, oneIn, hard)
			defer relay.Disarm()
			manySockets(t, *withFaults, hard)
			t.Logf("%d system calls have failed", faults.Count())
			if missing := faults.Missing(); len(missing) > 0 {
				t.Logf("these faults have not come, so the run shows nothing of them: %q", missing)
			}
			if faults.Count() < int64(*withFaults) {
				t.Error("hardly any system call has failed, so the test shows nothing")
			}
			if after := openFiles(t); after > before {
				t.Errorf("%d files are open, and %d before", after, before)
			}
		})
	}
}

// openFiles counts the open descriptors of sockets and pipes.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(all, func(e os.DirEntry) bool {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		return err != nil || len(to) < 5 || to[:5] != "socke" && to[:5] != "pipe:"
	}))
}
