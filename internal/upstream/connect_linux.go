package upstream

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connectNow begins to connect a socket that does not block. Package net calls connect(2) again. The
// system then says that the socket is connected, that it still connects, or why it could not; after a
// failure at once it tries anew. So an error of this one is not lost.
//
// The call is raw: Go's scheduler does not know of it. Over loopback a connect takes more than the 20 µs
// after which the scheduler takes it for a call that waits, because the peer's part of the handshake
// runs in it, too (internal/relay has the cost).
func connectNow(socket syscall.RawConn, to netip.AddrPort) error {
	address := to.Addr().Unmap()
	if address.Zone() != "" {
		return nil // net finds the zone's number
	}
	v4 := unix.RawSockaddrInet4{Family: unix.AF_INET}
	v6 := unix.RawSockaddrInet6{Family: unix.AF_INET6}
	var at unsafe.Pointer
	var size uintptr
	if address.Is4() {
		v4.Port, v4.Addr = inNetworkOrder(to.Port()), address.As4()
		at, size = unsafe.Pointer(&v4), unix.SizeofSockaddrInet4 //nolint:gosec // as in unix.Connect
	} else {
		v6.Port, v6.Addr = inNetworkOrder(to.Port()), address.As16()
		at, size = unsafe.Pointer(&v6), unix.SizeofSockaddrInet6 //nolint:gosec // as in unix.Connect
	}
	return socket.Control(func(fd uintptr) { _, _, _ = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(at), size) })
}

// inNetworkOrder returns a port whose bytes in memory have the order of the network.
func inNetworkOrder(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}
