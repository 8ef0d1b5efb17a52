package via

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openExit returns a file that can be read when p has ended; nil where the kernel has
// none (Linux before 5.10, some sandboxes). p must not have been reaped.
func openExit(p *os.Process) *os.File {
	fd, err := unix.PidfdOpen(p.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "pidfd")
}

// awaitFailure waits, without a thread, until the process of exit has ended, and reports
// whether it has failed. It leaves the process to be reaped. If that is not known, it
// reports false.
func awaitFailure(exit *os.File) (failed bool) {
	raw, err := exit.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) (done bool) {
		var info unix.Siginfo
		for {
			err = unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err == nil && info.Signo == 0 {
			return false // it runs
		}
		failed = err == nil && (info.Code != cldExited || statusOf(&info) != 0)
		return true
	})
	return failed
}

const cldExited = 1 // CLD_EXITED of waitid(2)

// statusOf is si_status, for which package unix has no field. It lies behind three
// numbers, and the pid and the uid of a union that is aligned like a pointer.
func statusOf(info *unix.Siginfo) int32 {
	const pointer = unsafe.Sizeof(uintptr(0))
	const union = (12 + pointer - 1) / pointer * pointer
	return *(*int32)(unsafe.Add(unsafe.Pointer(info), union+8)) //nolint:gosec // within the 128 bytes of a siginfo_t
}

// readNow reads the bytes in a pipe, and does not wait.
func readNow(f *os.File, b []byte) (n int) {
	if f.SetReadDeadline(time.Time{}) != nil {
		return 0
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Read(func(fd uintptr) (done bool) {
		n, _ = syscall.Read(int(fd), b)
		return true
	})
	return max(n, 0)
}

// awaitExit waits until p has ended, without reaping it: its id, and that of its group,
// are not reused. An error other than an interruption means that it has been reaped.
func awaitExit(p *os.Process, _ <-chan struct{}) {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
