package portlab

import (
	"net"
	"testing"
)

// TCPPair returns both ends of a connection over loopback.
func TCPPair(tb testing.TB) (near, far *net.TCPConn) {
	tb.Helper()
	socket, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	dialled, err := new(net.Dialer).DialContext(tb.Context(), "tcp", socket.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	accepted, err := socket.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = dialled.Close()
		_ = accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}
