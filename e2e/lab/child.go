//go:build linux

package lab

import (
	"bytes"
	"context"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Command is exec.CommandContext for a child that cannot outlive the test
// binary. Its own process group keeps a Ctrl-C at the terminal from reaching
// it before the tests have looked at it; the death signal reaches it even when
// `go test -timeout` panics, where no deferred call runs. Start it with Start.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	// A grandchild may hold the output pipes open after the kill.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// Start starts a command on a thread that lives as long as the test binary.
// The death signal is sent when the thread that started the child ends, not the
// process, and a test that ends threads of its own, as one in a network namespace
// does, would take along whatever broker was once started there.
func Start(cmd *exec.Cmd) error {
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}

var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() { // ends with the test binary
		runtime.LockOSThread()
		for start := range work {
			start()
		}
	}()
	return work
})

// Run is exec.Cmd.Run.
func Run(cmd *exec.Cmd) error {
	if err := Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Output is exec.Cmd.CombinedOutput.
func Output(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := Run(cmd)
	return out.String(), err
}
