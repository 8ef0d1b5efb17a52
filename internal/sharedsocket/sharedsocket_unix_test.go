//go:build unix

package sharedsocket

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// mode reports whether calls of a socket wait in the kernel.
func blocks(t *testing.T, l syscall.Conn) bool {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	if err := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK == 0
}

// A duplicate serves when the first is closed, and the socket never blocks, not even on the way.
func TestDuplicate(t *testing.T) {
	first := listen(t)
	descriptor, err := Descriptor(first)
	if err != nil {
		t.Fatal(err)
	}
	if blocks(t, first) {
		t.Error("the socket blocks behind Descriptor")
	}
	second, err := FromDescriptor(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if blocks(t, first) {
		t.Error("the socket blocks behind FromDescriptor")
	}
	_ = first.Close()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", second.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestFromDescriptorOfAnotherFile(t *testing.T) {
	server := listen(t)
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := client.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var copied int
	if err := raw.Control(func(fd uintptr) { copied, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if l, err := FromDescriptor(copied); err == nil {
		_ = l.Close()
		t.Error("a connection was taken for a listening socket")
	}
	if _, err := FromDescriptor(-1); err == nil {
		t.Error("-1 was taken for a listening socket")
	}
}
