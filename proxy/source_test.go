package proxy

import (
	"net"
	"net/netip"
	"testing"
)

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3":             "10.1.2.3",
		"::ffff:10.1.2.3":      "10.1.2.3",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2:3:4:5:6",
		"fe80::1%eth0":         "fe80::1",
	} {
		conn := remote{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
		if got := sourceOf(conn); got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	if got := sourceOf(remote{addr: &net.UnixAddr{Name: "x"}}); got.IsValid() {
		t.Errorf("no IP address: got %s", got)
	}
}

// remote is a connection of which only the other end's address is known.
type remote struct {
	net.Conn
	addr net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.addr }
