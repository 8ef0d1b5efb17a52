package proxy

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// others are sockets that the process listens on, beside those of listeners.
type others struct {
	mu  sync.Mutex // guards the following
	all []net.Addr
}

// Own adds a socket on which the process listens for other protocols than Kafka. A broker's
// address that leads there is refused, as one that leads to a listener is.
func (p *Proxy) Own(socket net.Addr) {
	p.others.mu.Lock()
	defer p.others.mu.Unlock()
	p.others.all = append(p.others.all, socket)
}

// Disown undoes Own, for a socket that is closed.
func (p *Proxy) Disown(socket net.Addr) {
	p.others.mu.Lock()
	defer p.others.mu.Unlock()
	p.others.all = slices.DeleteFunc(p.others.all, func(other net.Addr) bool { return other.String() == socket.String() })
}

// isOwn reports whether an address is one that this process listens on.
func (p *Proxy) isOwn(address netip.AddrPort) bool {
	if slices.ContainsFunc(p.acceptors(), func(d *acceptor) bool { return listensOn(d.socket.Addr(), address) }) {
		return true
	}
	p.others.mu.Lock()
	defer p.others.mu.Unlock()
	return slices.ContainsFunc(p.others.all, func(socket net.Addr) bool { return listensOn(socket, address) })
}

// listensOn reports whether a connection to an address would end at a socket.
func listensOn(socket net.Addr, address netip.AddrPort) bool {
	tcp, ok := socket.(*net.TCPAddr)
	if !ok || tcp.Port != int(address.Port()) {
		return false
	}
	bound, to := tcp.AddrPort().Addr().Unmap().WithZone(""), address.Addr().Unmap().WithZone("")
	switch {
	case bound == to:
		return true
	case bound.IsUnspecified():
		// The address of a socket of IPv4 alone is 0.0.0.0, and else [::].
		return (bound.Is6() || to.Is4()) && isLocal(to)
	default: // a connection to the unspecified address is one to this machine
		return to.IsUnspecified() && bound.IsLoopback()
	}
}

// isLocal reports whether address belongs to this machine.
func isLocal(address netip.Addr) bool {
	if address.IsLoopback() || address.IsUnspecified() {
		return true
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == address
	})
}
