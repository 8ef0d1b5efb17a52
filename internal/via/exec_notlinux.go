//go:build !linux

package via

import (
	"os"
	"time"
)

// awaitExit waits until p has very likely ended: when nobody has its standard error
// any more, and a moment has passed. Waiting for a process without reaping it is
// not to be had in Go outside Linux.
func awaitExit(_ *os.Process, silent <-chan struct{}) {
	<-silent
	<-time.After(execStatus / 2)
}
