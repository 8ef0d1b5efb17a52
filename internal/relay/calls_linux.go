package relay

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the hot path. None of them waits, because sockets and kernel pipes do
// not block: again says that nothing has come yet, or that there is no room.
//
// They are raw: Go's scheduler does not know of them. It would take a call of more than
// 20 µs, as many sends are, for one that waits, hand its processor to another thread, and
// wake its monitor every 20 µs from then on. That was more than a tenth of the cost of a
// small frame. A raw call keeps its processor for as long as the kernel takes to copy
// 256 KiB at most.

// streak counts the raw calls in a row after which the goroutine did not wait. A goroutine
// that never waits depends on the scheduler's monitor to make room for others. The monitor
// may sleep for seconds, until a call that is not raw, or a timer, wakes it.
type streak int

// maxStreak is large enough that the price of the monitor does not matter, and takes little
// time beside the 10 ms after which the monitor takes a processor away.
const maxStreak = 64

// count counts one more call, and wakes the monitor after maxStreak.
func (s *streak) count(waits bool) {
	if *s++; waits {
		*s = 0
	} else if *s == maxStreak {
		*s = 0
		_, _, _ = unix.Syscall(unix.SYS_GETPID, 0, 0, 0) // any call that is not raw
	}
}

// recvNow is recv(2). At the end of the peer's bytes it returns io.EOF.
func recvNow(fd int, b []byte, flags int) (n int, again bool, err error) {
	n, again, err = call("recv", unix.SYS_RECVFROM, fd, b, flags)
	return n, again, endOf(n, again, err)
}

// sendNow is send(2).
func sendNow(fd int, b []byte, flags int) (n int, again bool, err error) {
	return call("send", unix.SYS_SENDTO, fd, b, flags|unix.MSG_NOSIGNAL)
}

// readNow is read(2), of a kernel pipe.
func readNow(fd int, b []byte) (n int, again bool, err error) {
	n, again, err = call("read", unix.SYS_READ, fd, b, 0)
	return n, again, endOf(n, again, err)
}

// writeNow is write(2), into a kernel pipe.
func writeNow(fd int, b []byte) (n int, again bool, err error) {
	return call("write", unix.SYS_WRITE, fd, b, 0)
}

// spliceNow is splice(2) of up to n bytes. follows says that more bytes follow at once.
func spliceNow(from, to, n int, follows bool) (moved int, again bool, err error) {
	flags := unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MOVE
	if follows {
		flags |= unix.SPLICE_F_MORE
	}
	for {
		if failpoints {
			var errno unix.Errno
			if n, errno = failSplice(from, n); errno == unix.EINTR {
				continue
			} else if errno != 0 {
				return resultOf("splice", 0, errno)
			}
		}
		got, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), uintptr(flags))
		if errno == unix.EINTR {
			continue
		}
		moved, again, err = resultOf("splice", got, errno)
		return moved, again, endOf(moved, again, err)
	}
}

// hasRoom reports whether a socket has room (a third of its buffer), or cannot be asked.
func hasRoom(fd int) bool {
	if failpoints && fails(failPoll) {
		return true // as after an error
	}
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	var now unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0) //nolint:gosec // as in unix.Ppoll
	return n > 0 || errno != 0
}

// hasBytes reports whether a socket has bytes to read. It takes none of them.
//
// A socket can have bytes that splice does not find. While the socket is in an eBPF sockmap or
// sockhash, as some agents that observe or secure a node have all of them, received bytes wait in
// another queue, which recv reads. splice reports that nothing has come, or the end.
func hasBytes(fd int) bool {
	var b [1]byte
	n, _, _ := call("recv", unix.SYS_RECVFROM, fd, b[:], unix.MSG_PEEK)
	return n > 0
}

// roomOf returns how many bytes a socket that has room takes at once, including the
// kernel's own overhead. For a socket that cannot be asked it returns 1.
func roomOf(fd int) int {
	if failpoints && fails(failRoom) {
		return 1 // as after an error
	}
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

// call makes a system call that takes a buffer.
func call(name string, trap uintptr, fd int, b []byte, flags int) (n int, again bool, err error) {
	for {
		if failpoints {
			var errno unix.Errno
			if b, errno = failCall(trap, b); errno == unix.EINTR {
				continue
			} else if errno != 0 {
				return resultOf(name, 0, errno)
			}
		}
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

// endOf returns the error of a call that reads. No bytes and no error mean the end.
func endOf(n int, again bool, err error) error {
	if n == 0 && !again && err == nil {
		return io.EOF
	}
	return err
}
