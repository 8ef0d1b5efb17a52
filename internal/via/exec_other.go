//go:build !unix

package via

import (
	"os"
	"syscall"
)

// ownGroup does nothing: there are no process groups as Unix has them.
func ownGroup() *syscall.SysProcAttr { return nil }

// terminate does nothing: the end of its input is all that a command is told.
func terminate(*os.Process) {}

// kill ends the command, and not what it has started.
func kill(leader *os.Process) { _ = leader.Kill() }
