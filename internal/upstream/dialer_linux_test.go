package upstream_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"kproxy/internal/upstream"
)

// The kernel's state of a connection: the documented keep-alive, and no TCP_USER_TIMEOUT,
// which would reset a connection to a slow broker.
func TestDialKeepalive(t *testing.T) {
	broker := listen(t)
	d := upstream.Dialer{Keepalive: 42 * time.Second}
	conn, _, err := d.Dial(t.Context(), upstream.Target{Node: 1, Host: "127.0.0.1", Port: int32(broker.Port()), Configured: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}

	const userTimeout = 18 // TCP_USER_TIMEOUT, which package syscall does not name everywhere
	options := []struct {
		name                string
		level, option, want int
	}{
		{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 42},
		{"TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 4},
		{"TCP_USER_TIMEOUT", syscall.IPPROTO_TCP, userTimeout, 0},
	}
	for _, o := range options {
		var got int
		var optErr error
		if err := raw.Control(func(fd uintptr) {
			got, optErr = syscall.GetsockoptInt(int(fd), o.level, o.option)
		}); err != nil || optErr != nil {
			t.Fatal(o.name, err, optErr)
		}
		if got != o.want {
			t.Errorf("%s is %d, want %d", o.name, got, o.want)
		}
	}
}
