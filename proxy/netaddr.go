package proxy

import (
	"net"
	"net/netip"
)

// unmapped is an address whose IPv4 is not within IPv6.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// addressOf is the address and port of one side of a connection; the zero
// AddrPort where it has none.
func addressOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmapped(tcp.AddrPort())
}
