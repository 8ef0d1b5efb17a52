// Package supervisor knows the program that started kproxy and keeps it running: systemd, process 1
// of a container, another supervisor, or a shell. It reads the environment and the process table;
// it writes to systemd's socket alone.
//
//	recognise.go   whether a new process may take the place of this one
//	notify.go      systemd's notifications: READY, RELOADING, MAINPID, STOPPING, WATCHDOG
//	activation.go  the sockets that systemd has opened (socket activation)
//
// The two protocols are those of sd_notify(3) and sd_listen_fds(3). Their parts on the wire come from
// github.com/coreos/go-systemd, which is small, has no dependency of its own, and is used by most
// programs in Go that do the same. The order of messages is here.
//
// A process that took over from another has the variables of the first one: WATCHDOG_PID and
// LISTEN_PID name that. [Environ] removes them for it, because a variable WATCHDOG_USEC without a
// process is for every process that has it.
package supervisor

import (
	"os"
	"strconv"
	"strings"
)

// The variables of systemd.
const (
	notifySocket = "NOTIFY_SOCKET"
	watchdogTime = "WATCHDOG_USEC"
	watchdogPID  = "WATCHDOG_PID"
	invocation   = "INVOCATION_ID"
	execPID      = "SYSTEMD_EXEC_PID"
)

// Environ returns the environment for a process that is to take over from this one, made of that of
// this one: without the variables that are for this process alone.
func Environ(environ []string, pid int) []string {
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	watched := values[watchdogPID] == "" || values[watchdogPID] == strconv.Itoa(pid)
	var all []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "LISTEN_"), name == watchdogPID, name == watchdogTime && !watched:
		default:
			all = append(all, entry)
		}
	}
	return all
}

// process is what recognise decides by.
type process struct {
	pid, parent int
	parentName  string // of its program; "": not known
	inherited   bool   // it took over from another: its first parent is gone
	getenv      func(string) string
}

// RefusedError says why a new process cannot take the place of this one, and another way.
type RefusedError struct{ Problem, Fix string }

// Error is the problem and the other way, in one line.
func (r *RefusedError) Error() string { return r.Problem + "; " + r.Fix }

// Recognise returns why a new process cannot take the place of this one; nil: it can. inherited says
// that this one took over from another in the same way.
func Recognise(inherited bool) *RefusedError {
	p := process{pid: os.Getpid(), parent: os.Getppid(), inherited: inherited, getenv: os.Getenv}
	p.parentName = nameOf(p.parent)
	return p.recognise()
}
