package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"kproxy/internal/portlab"
)

// The advice is about binding where that has failed, and only there.
func TestBindFix(t *testing.T) {
	listen := func(port int, errno syscall.Errno) error {
		return fmt.Errorf("clusters.orders.listeners.fred: bind x: %w", &net.OpError{
			Op: "listen", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Err: os.NewSyscallError("bind", errno),
		})
	}
	outgoing := portRange{32768, 60999}
	for _, tt := range []struct {
		err  error
		want string // "": no fix
	}{
		{listen(9092, syscall.EADDRINUSE), "stop the process that listens there, or choose another address"},
		{listen(40000, syscall.EADDRINUSE), "ip_local_reserved_ports"},
		{listen(9092, syscall.EADDRNOTAVAIL), "choose an address that this machine has"},
		{listen(92, syscall.EACCES), "CAP_NET_BIND_SERVICE"},
		{listen(9092, syscall.EMFILE), "ulimit -n"},
		{listen(9092, syscall.EINVAL), ""},
		{&fs.PathError{Op: "open", Path: "/var/lib/kproxy/orders", Err: syscall.EACCES}, ""},
		{errors.New("users: line 1: it begins with no user's name"), ""},
	} {
		if got := bindFix(tt.err, outgoing); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	if got := bindFix(listen(40000, syscall.EADDRINUSE), portRange{}); strings.Contains(got, "outgoing") {
		t.Errorf("got %q where the range is not known", got)
	}
}

// A start that fails for another reason than a socket's has no advice about addresses.
func TestServeFailsOtherwise(t *testing.T) {
	host := portlab.Host(t)
	k := startServe(t, fmt.Sprintf(`
state_dir: /dev/null/state
clusters:
  orders:
    bootstrap: ["127.0.0.1:1"]
    listeners:
      fred: {bind: "%s:9092", nodes: {ports: 9100}}
`, host))
	if err := <-k.done; err == nil || strings.Contains(err.Error(), "address") {
		t.Errorf("serve ended with %v", err)
	}
}
