package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"kproxy/internal/shell"
)

// statusError is a command's exit code, which becomes kproxy's.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("the command ended with %d", e.code) }

// runCommand runs a command by the shell, and waits for it. Its error is a *statusError
// if the command has failed. SIGTERM is passed on. SIGINT comes from a terminal, which
// sends it to the command, too; the command decides.
func runCommand(text, bootstrap string, stdout, stderr io.Writer) error {
	path, flag := shell.Command()
	cmd := exec.Command(path, flag, text) //nolint:gosec,noctx // the user's own command; it ends by itself
	cmd.Env = append(os.Environ(), "KAFKA_BOOTSTRAP_SERVERS="+bootstrap)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return fmt.Errorf("--exec: %w", err)
	}
	var handing sync.WaitGroup
	handing.Go(func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				_ = cmd.Process.Signal(s) // it may be gone
			}
		}
	})
	defer handing.Wait()
	defer close(signals)
	defer signal.Stop(signals)
	err := cmd.Wait()
	ended, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return fmt.Errorf("--exec: %w", err)
	case ended.ExitCode() >= 0:
		return &statusError{ended.ExitCode()}
	default:
		return &statusError{128 + signalOf(ended.ProcessState)}
	}
}

// signalOf is the number of the signal that ended a process.
func signalOf(state *os.ProcessState) int {
	if status, ok := state.Sys().(interface{ Signal() syscall.Signal }); ok {
		return int(status.Signal())
	}
	return 0
}
