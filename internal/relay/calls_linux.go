package relay

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path. None of them waits, for neither sockets nor
// ducts block: again says that there is nothing yet, or no room.
//
// They are raw: the scheduler is not told of them. It would take one that lasts
// longer than 20 µs, as many do that send, for a call that waits, hand its
// processor on to another thread, and have its monitor look every 20 µs from then
// on, which was more than a tenth of what a small frame costs. A raw call keeps its
// processor for as long as the kernel takes to copy 256 KiB at most.

// spell counts the calls in a row that had no need to wait. A goroutine that never
// waits depends on the scheduler's monitor to make room for others, and while
// nothing runs that one sleeps, until a call that is not raw, or the next timer,
// wakes it: seconds.
type streak int

// maxSpell is so many calls that the monitor's price does not matter, and few
// beside the 10 ms after which it takes a processor away.
const maxStreak = 64

// took counts one call more, and wakes the monitor if there were many.
func (s *streak) count(waits bool) {
	if *s++; waits {
		*s = 0
	} else if *s == maxStreak {
		*s = 0
		_, _, _ = unix.Syscall(unix.SYS_GETPID, 0, 0, 0) // any will do
	}
}

// recvNow is recv(2). The end of what the peer sends is io.EOF.
func recvNow(fd int, b []byte, flags int) (n int, again bool, err error) {
	n, again, err = call("recv", unix.SYS_RECVFROM, fd, b, flags)
	return n, again, endOf(n, again, err)
}

// sendNow is send(2).
func sendNow(fd int, b []byte, flags int) (n int, again bool, err error) {
	return call("send", unix.SYS_SENDTO, fd, b, flags|unix.MSG_NOSIGNAL)
}

// readNow is read(2), of a duct.
func readNow(fd int, b []byte) (n int, again bool, err error) {
	n, again, err = call("read", unix.SYS_READ, fd, b, 0)
	return n, again, endOf(n, again, err)
}

// writeNow is write(2), into a duct.
func writeNow(fd int, b []byte) (n int, again bool, err error) {
	return call("write", unix.SYS_WRITE, fd, b, 0)
}

// spliceNow moves up to n bytes. A connection may wait for what follows at once.
func spliceNow(from, to, n int, follows bool) (moved int, again bool, err error) {
	flags := unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MOVE
	if follows {
		flags |= unix.SPLICE_F_MORE
	}
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), uintptr(flags))
		if errno == unix.EINTR {
			continue
		}
		moved, again, err = resultOf("splice", got, errno)
		return moved, again, endOf(moved, again, err)
	}
}

// hasRoom reports whether a socket has room, which is a third of its buffer, or
// cannot be asked.
func hasRoom(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	var now unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0) //nolint:gosec // as in unix.Ppoll
	return n > 0 || errno != 0
}

// roomOf is how many bytes a socket that has room takes at once; what the kernel
// needs around them is counted in. One that cannot be asked takes one byte.
func roomOf(fd int) int {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	//nolint:gosec // as in unix.GetsockoptInt, which has not this type
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	buffer, queued := info[unix.SK_MEMINFO_SNDBUF], info[unix.SK_MEMINFO_WMEM_QUEUED]
	if errno != 0 || queued >= buffer {
		return 1
	}
	return int(buffer - queued)
}

// call is a system call that takes a buffer.
func call(name string, trap uintptr, fd int, b []byte, flags int) (n int, again bool, err error) {
	for {
		//nolint:gosec // as in unix.Recvfrom, which allocates for an address that is of no interest
		got, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return resultOf(name, got, errno)
		}
	}
}

func resultOf(name string, n uintptr, errno unix.Errno) (int, bool, error) {
	switch errno {
	case 0:
		return int(n), false, nil
	case unix.EAGAIN:
		return 0, true, nil
	default:
		return 0, false, os.NewSyscallError(name, errno)
	}
}

// endOf is the error of a call that takes something from somewhere: nothing means
// that there will be nothing more.
func endOf(n int, again bool, err error) error {
	if n == 0 && !again && err == nil {
		return io.EOF
	}
	return err
}
