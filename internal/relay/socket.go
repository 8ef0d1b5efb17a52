package relay

import "net"

// socketOf is the connection under all others that conn may consist of, as TLS
// does: the one that the system knows.
func SocketOf(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}

// isPlainTCP reports whether conn is the kernel's connection and nothing over it.
func IsPlainTCP(conn net.Conn) bool {
	_, plain := conn.(*net.TCPConn)
	return plain
}

// closeNow closes a connection without a word: TLS would first wait until it can
// say that it ends.
func CloseNow(conn net.Conn) { _ = SocketOf(conn).Close() }

// closeByReset closes a connection by a reset, whatever is still unsent.
func CloseByReset(conn net.Conn) {
	if tcp, ok := SocketOf(conn).(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // fails only if the peer is gone
	}
	CloseNow(conn)
}

// closeWrite ends one direction of a connection that has two; of one that has
// not (in memory), nothing. In TLS it is close_notify that ends it.
func CloseWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // an error means that the peer is gone, which reading tells as well
	}
}
