//go:build unix

package via

import (
	"os"
	"syscall"
)

// ownGroup gives a command a process group, so that its children end with it,
// and an interrupt typed at kproxy's terminal does not end it before the drain.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// terminate asks a process group to end. Its leader has not been reaped.
func terminate(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGTERM) }

// kill ends a process group. Its leader has not been reaped.
func kill(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGKILL) }
