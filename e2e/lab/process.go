//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is a server under test: a broker or kproxy, with its output in a file. Its
// owner must Stop or Kill it.
type Process struct {
	name    string
	LogPath string // of its standard output and standard error
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone and reaped
	err     error         // why it ended; read it after exited is closed
}

// StartProcess runs cmd with its output appended to logPath.
func StartProcess(name, logPath string, cmd *exec.Cmd) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	cmd.Stdout, cmd.Stderr = log, log
	if err := Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, LogPath: logPath, cmd: cmd, exited: make(chan struct{})}
	go p.reap()
	return p, nil
}

// reap ends with the process, which its owner stops.
func (p *Process) reap() {
	p.err = p.cmd.Wait()
	close(p.exited)
}

// PID is the process's id, also after its end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends one signal to the process, such as SIGTERM or SIGSTOP.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks the process to end and waits for it. An error says that it did not
// end in time, and was killed, or that its exit code was not one of ok.
func (p *Process) Stop(timeout time.Duration, ok ...int) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: SIGTERM: %w", p.name, err)
	}
	return p.Wait(timeout, ok...)
}

// Wait waits for a process that was asked to end; see Stop.
func (p *Process) Wait(timeout time.Duration, ok ...int) error {
	select {
	case <-p.exited:
	case <-time.After(timeout):
		p.Kill()
		return fmt.Errorf("%s was still running %v after it was asked to end", p.name, timeout)
	}
	if slices.Contains(append(ok, 0), p.cmd.ProcessState.ExitCode()) {
		return nil
	}
	return fmt.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
}

// Kill ends the process at once, as a power cut would, and waits for it.
func (p *Process) Kill() {
	_ = killGroup(p.cmd.Process.Pid) // gone already is as good
	<-p.exited
}

// Alive reports whether the process still runs; the error says how it ended.
func (p *Process) Alive() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.LogTail())
	default:
		return nil
	}
}

// LogTail is the last lines that the process wrote.
func (p *Process) LogTail() string { return p.logTail(nil) }

// Complaints is the last lines that the process wrote at level WARN or ERROR.
func (p *Process) Complaints() string {
	level := regexp.MustCompile(`\b(WARN|ERROR|FATAL)\b`)
	return p.logTail(level.MatchString)
}

// logTail is the last lines that satisfy keep; nil keeps all.
func (p *Process) logTail(keep func(string) bool) string {
	const most = 40
	log, err := os.ReadFile(p.LogPath)
	if err != nil {
		return err.Error()
	}
	lines := slices.Collect(strings.Lines(string(log)))
	if keep != nil {
		lines = slices.DeleteFunc(lines, func(line string) bool { return !keep(line) })
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}
