package proxy

import (
	"net"
	"testing"

	"kproxy/internal/turns"
)

// A client that does not read the handshake's bytes holds no place meanwhile.
func TestHandshakeWritesWithoutAPlace(t *testing.T) {
	near, far := net.Pipe() // a write waits for its reader
	defer far.Close()
	h := &handshaking{Conn: near, ctx: t.Context(), places: turns.NewPlaces(1, new(turns.Waiters))}
	go func() { _, _ = far.Write([]byte("hello")) }()
	if _, err := h.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if h.places.Taken() != 1 {
		t.Fatal("it works without a place")
	}
	wrote := make(chan error)
	go func() {
		_, err := h.Write([]byte("hello"))
		wrote <- err
	}()
	h.places.TryTake() // another's, which would wait for ever
	if _, err := far.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}
