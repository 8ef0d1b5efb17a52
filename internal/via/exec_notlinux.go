//go:build !linux

package via

import (
	"os"
	"time"
)

// openExit returns nil: waiting without reaping is not to be had.
func openExit(*os.Process) *os.File { return nil }

// awaitFailure is for Linux.
func awaitFailure(*os.File) (failed bool) { return false }

// readNow is for Linux.
func readNow(*os.File, []byte) (n int) { return 0 }

// awaitExit waits until p has very likely ended: no process has its standard error any
// more, and a moment has passed. Waiting for a process without reaping it is
// not to be had in Go outside Linux.
func awaitExit(_ *os.Process, silent <-chan struct{}) {
	<-silent
	<-time.After(execStatus / 2)
}
