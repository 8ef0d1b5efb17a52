package hostport

import (
	"net"
	"net/netip"
)

// Unmapped returns an address whose IPv4 is not within IPv6.
func Unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// AddrPort returns the address and port of one side of a connection; the zero
// AddrPort where it has none.
func AddrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return Unmapped(tcp.AddrPort())
}
