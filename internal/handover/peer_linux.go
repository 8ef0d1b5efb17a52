package handover

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf returns the process at the other end of a connection: the one that made the pair. It may
// have ended already, and another process be the parent of this one.
func peerOf(conn *net.UnixConn) int {
	pid := os.Getppid()
	raw, err := conn.SyscallConn()
	if err != nil {
		return pid
	}
	_ = raw.Control(func(fd uintptr) { // otherwise the parent it is
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && peer.Pid > 0 {
			pid = int(peer.Pid)
		}
	})
	return pid
}
