//go:build !failpoints

package relay

import "golang.org/x/sys/unix"

// failpoints says that system calls can be made to fail (see failpoints_linux.go). The compiler
// drops the branches that depend on it before it decides what to inline.
const failpoints = false

type failpoint int

const failPoll, failRoom, failReadMore, failPipe, failPipeSize = failpoint(0), failpoint(0), failpoint(0), failpoint(0), failpoint(0)

func fails(failpoint) bool                          { panic("there are none") }
func failSplice(int, int) (int, unix.Errno)         { panic("there are none") }
func failCall(uintptr, []byte) ([]byte, unix.Errno) { panic("there are none") }
