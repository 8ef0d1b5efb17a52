//go:build !linux

package proxy

import "net"

// transportOf knows nothing: elsewhere than on Linux keep-alive alone finds peers
// that are gone, and the kernel's own retransmission limit those that are gone
// while bytes are outstanding.
func transportOf(net.Conn) (t transport, ok bool) { return transport{}, false }
