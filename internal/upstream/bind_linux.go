package upstream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate leaves the choice of the local port to connect. At bind, the kernel needs a
// port that is free for all peers, of about 28,000 for each address. At connect, it needs
// one that is free for this broker.
func bindLate(socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return err
	}
	return failed
}
