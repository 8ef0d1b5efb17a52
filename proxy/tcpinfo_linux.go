package proxy

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// transportOf asks the kernel about a connection; ok is false where there is no
// TCP connection, or no longer.
func transportOf(conn net.Conn) (t transport, ok bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return t, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return t, false
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || infoErr != nil {
		return t, false
	}
	return transport{
		closed:      info.State == unix.BPF_TCP_CLOSE, // TCP_CLOSE, by the only name that it has there
		ended:       info.State == unix.BPF_TCP_CLOSE_WAIT,
		outstanding: info.Unacked > 0 || info.Notsent_bytes > 0,
		unanswered:  info.Retransmits > 0 || info.Probes > 0,
		lastACK:     time.Duration(info.Last_ack_recv) * time.Millisecond,
	}, true
}
