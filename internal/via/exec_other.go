//go:build !unix

package via

import (
	"os"
	"syscall"
)

// ownGroup does nothing: there are no process groups as on Unix.
func ownGroup() *syscall.SysProcAttr { return nil }

// terminate does nothing: a command gets only the end of its input.
func terminate(*os.Process) {}

// kill ends the command, and not its children.
func kill(leader *os.Process) { _ = leader.Kill() }
