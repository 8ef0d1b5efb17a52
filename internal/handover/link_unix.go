//go:build unix

package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"kproxy/internal/sharedsocket"
)

// IsSupported reports whether this system can pass sockets to a new process.
const IsSupported = true

// rights returns the control message that carries descriptors.
func rights(files []int) []byte {
	if len(files) == 0 {
		return nil
	}
	return unix.UnixRights(files...)
}

// controlLen is the room for the control message of a batch.
func controlLen() int { return unix.CmsgSpace(4 * maxBatch) }

// descriptors returns those that a control message carries. On an error it has closed them.
func descriptors(control []byte, flags int) (files []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		some, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, some...)
	}
	if flags&unix.MSG_CTRUNC != 0 { // the kernel closes those for which there is no room, or no free file
		closeAll(files)
		return nil, errors.New("descriptors were lost: the process has too few free files")
	}
	return files, nil
}

// duplicate returns another descriptor of a listening socket.
func duplicate(socket net.Listener) (int, error) { return sharedsocket.Descriptor(socket) }

// listenerOf makes a listener of a descriptor, which it closes.
func listenerOf(descriptor int) (net.Listener, error) { return sharedsocket.FromDescriptor(descriptor) }

func closeAll(files []int) {
	for _, f := range files {
		_ = unix.Close(f) // it was only passed
	}
}

// pair returns the two ends of a connection between processes.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // no other child gets them before they are marked
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(ends[1]), "hand-over")
	if ours, err = connOf(ends[0]); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// connOf makes a connection of a descriptor, which it closes.
func connOf(descriptor int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(descriptor), "hand-over")
	if f == nil {
		return nil, fmt.Errorf("%d is not a descriptor", descriptor)
	}
	defer func() { _ = f.Close() }() // the connection has another descriptor
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("descriptor %d is not a unix socket", descriptor)
	}
	return unixConn, nil
}
