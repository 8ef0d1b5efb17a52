//go:build unix

package sharedsocket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func duplicate(tcp filer) (net.Listener, error) {
	descriptor, err := Descriptor(tcp)
	if err != nil {
		return nil, err
	}
	return FromDescriptor(descriptor)
}

// Descriptor returns another descriptor of a listening socket. The caller closes it.
//
// It does not use File of the socket: os.File.Fd of that, which net.FileListener calls, has the
// socket block for a moment. The mode is that of all descriptors, and an Accept of this moment would
// wait in the kernel, and take a connection after its listener is closed.
func Descriptor(l net.Listener) (int, error) {
	conn, ok := l.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%s is not a socket of the system", l.Addr())
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	copied := -1
	var failed error
	if err := raw.Control(func(fd uintptr) { copied, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return copied, os.NewSyscallError("fcntl", failed)
}

// FromDescriptor returns a listener of a socket that listens. It closes the descriptor.
func FromDescriptor(descriptor int) (net.Listener, error) {
	f := os.NewFile(uintptr(descriptor), "listening socket")
	if f == nil {
		return nil, fmt.Errorf("%d is not a descriptor", descriptor)
	}
	defer func() { _ = f.Close() }() // the listener has another descriptor
	if listens, err := unix.GetsockoptInt(descriptor, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return nil, errors.Join(errors.New("it is not a socket that listens"), err)
	}
	return net.FileListener(f)
}

// CanReusePort reports whether this system lets sockets share an address.
const CanReusePort = true

// ReusePort has a socket share its address with others of the same user that do so too
// (SO_REUSEPORT). It is a Control of net.ListenConfig.
func ReusePort(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, os.NewSyscallError("setsockopt", failed))
}
