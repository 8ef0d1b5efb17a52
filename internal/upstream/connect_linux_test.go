package upstream

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connectNow connects the socket to the address itself, in each of its forms. Package net would take a
// connection to any other address for its own.
func TestConnectNow(t *testing.T) {
	for _, c := range []struct {
		host, as string // where the peer listens, and the dialled address
		family   int
	}{
		{"127.0.0.1", "127.0.0.1", unix.AF_INET},
		{"127.0.0.1", "::ffff:127.0.0.1", unix.AF_INET},
		{"::1", "::1", unix.AF_INET6},
	} {
		t.Run(c.as, func(t *testing.T) {
			peer, err := net.Listen("tcp", net.JoinHostPort(c.host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			fd, err := unix.Socket(c.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "socket")
			defer f.Close()
			raw, err := f.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := connectNow(raw, netip.AddrPortFrom(netip.MustParseAddr(c.as), peer.Addr().(*net.TCPAddr).AddrPort().Port())); err != nil {
				t.Fatal(err)
			}
			if err := peer.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			came, err := peer.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer came.Close()
			if _, err := unix.Getpeername(fd); err != nil {
				t.Error(err)
			}
		})
	}
}

// An address that is refused is not reached: the check comes before the connection begins.
func TestRefusedAddressesAreNotReached(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	at := peer.Addr().(*net.TCPAddr).AddrPort()
	d := Dialer{Own: func(address netip.AddrPort) bool { return address == at }}
	_, _, err = d.Dial(t.Context(), Target{Host: "127.0.0.1", Port: int32(at.Port()), Configured: true})
	if _, ok := errors.AsType[*LoopError](err); !ok {
		t.Fatalf("got %v, want a *LoopError", err)
	}
	if err := peer.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if came, err := peer.Accept(); err == nil {
		came.Close()
		t.Error("it is reached all the same")
	}
}
