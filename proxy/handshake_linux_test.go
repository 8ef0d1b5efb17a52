package proxy

import (
	"errors"
	"io"
	"net"
	"testing"

	"kproxy/internal/portlab"
	"kproxy/internal/turns"
)

// A client that leaves while it waits for a place does not get one: its handshake would delay
// the clients that are still there.
func TestHandshakeOfAClientThatHasLeft(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(*net.TCPConn) error // nil: it stays
		wrote bool                     // the proxy has answered before
		want  error
	}{
		{"it stays", nil, false, nil},
		{"it ends", (*net.TCPConn).Close, false, io.EOF},
		{"it ends its side after an answer", (*net.TCPConn).CloseWrite, true, nil},
		{"it resets after an answer", func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }, true, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := portlab.TCPPair(t)
			h := &handshaking{Conn: near, ctx: t.Context(), places: turns.NewPlaces(1, new(turns.Waiters)), wrote: tt.wrote}
			if tt.leave != nil {
				if err := tt.leave(far); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.wait(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if placed := h.places.Taken() == 1; placed != (tt.want == nil) {
				t.Errorf("it has a place: %v", placed)
			}
		})
	}
}
