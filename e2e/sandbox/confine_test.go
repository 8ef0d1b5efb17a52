//go:build e2e && linux

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// confinement is the part of the system that a sandbox withholds.
type confinement struct {
	Errno  unix.Errno // by which seccomp refuses splice and pipes; 0: it does not
	Hidden bool       // /proc and /sys/fs/cgroup are empty
}

// confinedBy is the variable that has the test's binary confine itself, and then be another program.
const confinedBy = "SANDBOX_CONFINED_BY"

// command returns a command that runs confined.
func (c confinement) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %t", confinedBy, c.Errno, c.Hidden))
	return cmd
}

func TestMain(m *testing.M) {
	if how := os.Getenv(confinedBy); how != "" {
		var c confinement
		_, err := fmt.Sscan(how, &c.Errno, &c.Hidden)
		if err == nil {
			err = c.exec(os.Args[1:])
		}
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// exec confines this process and becomes the program.
func (c confinement) exec(args []string) error {
	runtime.LockOSThread() // the filter is of a thread, and so is the mount namespace
	env := os.Environ()
	for i, variable := range env {
		if strings.HasPrefix(variable, confinedBy+"=") {
			env = append(env[:i], env[i+1:]...)
			break
		}
	}
	if c.Hidden {
		if err := hide("/sys/fs/cgroup", "/proc"); err != nil {
			return err
		}
	}
	if c.Errno != 0 {
		if err := refuse(c.Errno, unix.SYS_SPLICE, unix.SYS_TEE, unix.SYS_VMSPLICE, unix.SYS_PIPE2); err != nil {
			return err
		}
	}
	return unix.Exec(args[0], args, env)
}

// hide has the thread see empty directories.
func hide(dirs ...string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace is refused; the test needs root: %w", err)
	}
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	for _, dir := range dirs {
		err = errors.Join(err, unix.Mount("empty", dir, "tmpfs", unix.MS_RDONLY, ""))
	}
	return err
}

// refuse has seccomp refuse system calls of the thread.
func refuse(errno unix.Errno, calls ...uint32) error {
	const number = 0 // of struct seccomp_data
	filter := []bpf.Instruction{bpf.LoadAbsolute{Off: number, Size: 4}}
	for i, call := range calls {
		filter = append(filter, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipTrue: uint8(len(calls) - i)})
	}
	filter = append(filter, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(raw)))}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}
