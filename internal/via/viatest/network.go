package viatest

import (
	"net"
	"sync"
	"testing"
)

// Hole is a network that can begin to drop the bytes sent over its connections; later
// connections work.
type Hole struct {
	*Gate
	mu    sync.Mutex
	alive chan struct{} // closed: those made with it swallow
}

// NewHole leads to an address.
func NewHole(tb testing.TB, to string) *Hole {
	tb.Helper()
	h := &Hole{alive: make(chan struct{})}
	h.Gate = NewGate(tb, func(conn net.Conn) {
		h.mu.Lock()
		swallowed := h.alive
		h.mu.Unlock()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		pass := func(to, from net.Conn) {
			buffer := make([]byte, 32<<10)
			for {
				n, err := from.Read(buffer)
				if err != nil {
					return
				}
				select {
				case <-swallowed:
				default:
					_, _ = to.Write(buffer[:n])
				}
			}
		}
		go pass(conn, server)
		pass(server, conn)
	})
	return h
}

// Swallow silences the present connections.
func (h *Hole) Swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.alive)
	h.alive = make(chan struct{})
}

// Relay is a server that leads to an address, and is dropped separately from the server
// there.
func Relay(tb testing.TB, to string) *Gate {
	tb.Helper()
	return NewGate(tb, func(conn net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		relay(conn, conn.(*net.TCPConn).CloseWrite, server)
	})
}
