package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
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

// Where a socket of kproxy's own has the port, the advice names that, and no process to stop.
func TestBindFixOwn(t *testing.T) {
	address := func(text string) *net.TCPAddr {
		t.Helper()
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			t.Fatal(err)
		}
		return net.TCPAddrFromAddrPort(a)
	}
	for _, tt := range []struct {
		bind, own string
		want      bool
	}{
		{"127.0.0.1:9092", "0.0.0.0:9092", true},
		{"127.0.0.1:9092", "[::]:9092", true},
		{"0.0.0.0:9092", "127.0.0.1:9092", true},
		{"127.0.0.1:9092", "127.0.0.1:9092", true}, // by a name
		{"127.0.0.1:9092", "0.0.0.0:9093", false},
		{"127.0.0.1:9092", "127.0.0.2:9092", false},
	} {
		err := &net.OpError{Op: "listen", Net: "tcp", Addr: address(tt.bind), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
		got := bindFix(fmt.Errorf("bind: %w", withHeld(err, []net.Addr{address(tt.own)}, heldByPredecessor)), portRange{})
		if strings.Contains(got, "hands over listens at "+tt.own) != tt.want || strings.Contains(got, "stop the process") == tt.want {
			t.Errorf("%s beside %s: got %q", tt.bind, tt.own, got)
		}
		if !errors.Is(withHeld(err, []net.Addr{address(tt.own)}, heldByPredecessor), syscall.EADDRINUSE) {
			t.Error("the error of the system is lost")
		}
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
