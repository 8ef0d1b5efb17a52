//go:build !linux

package via

import (
	"os"
	"time"
)

// openExit returns nil: Go cannot wait without reaping here.
func openExit(*os.Process) *os.File { return nil }

// awaitFailure is for Linux.
func awaitFailure(*os.File) (failed bool) { return false }

// readNow is for Linux.
func readNow(*os.File, []byte) (n int) { return 0 }

// awaitExit waits until p has very likely ended: no process has its standard error any
// more, and a moment has passed. Outside Linux, Go cannot wait for a process without
// reaping it.
func awaitExit(_ *os.Process, silent <-chan struct{}) {
	<-silent
	<-time.After(execStatus / 2)
}
