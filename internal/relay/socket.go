package relay

import "net"

// SocketOf returns the innermost connection of conn, which the system knows. A TLS
// connection, for example, wraps another one.
func SocketOf(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}

// IsPlainTCP reports whether conn is a TCP connection of the kernel, not wrapped.
func IsPlainTCP(conn net.Conn) bool {
	_, plain := conn.(*net.TCPConn)
	return plain
}

// CloseNow closes the socket of a connection. TLS would first wait until it has written its
// close_notify.
func CloseNow(conn net.Conn) { _ = SocketOf(conn).Close() }

// CloseByReset closes a connection by a reset. Unsent bytes are lost.
func CloseByReset(conn net.Conn) {
	if tcp, ok := SocketOf(conn).(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // fails only if the peer is gone
	}
	CloseNow(conn)
}

// CloseWrite ends the direction in which kproxy writes. TLS sends a close_notify. On
// connections that cannot end one direction (in memory) it does nothing.
func CloseWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // an error means that the peer is gone; reading returns it too
	}
}

// CloseWriteAfterError ends the direction in which kproxy writes after a write that has failed. TLS
// writes no close_notify: the peer may be inside a record, and would read it as that record's bytes.
func CloseWriteAfterError(c net.Conn) { CloseWrite(SocketOf(c)) }
