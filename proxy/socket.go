package proxy

import "net"

// socketOf is the connection under all others that conn may consist of, as TLS
// does: the one that the system knows.
func socketOf(conn net.Conn) net.Conn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = over.NetConn()
	}
}

// closeNow closes a connection without a word: TLS would first wait until it can
// say that it ends.
func closeNow(conn net.Conn) { _ = socketOf(conn).Close() }

// closeByReset closes a connection by a reset, whatever is still unsent.
func closeByReset(conn net.Conn) {
	if tcp, ok := socketOf(conn).(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // fails only if the peer is gone
	}
	closeNow(conn)
}

// closeWrite ends one direction of a connection that has two; of one that has
// not (in memory), nothing. In TLS it is close_notify that ends it.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // an error means that the peer is gone, which reading tells as well
	}
}
