package proxy

import (
	"net"
	"testing"

	"kproxy/internal/turns"
)

// The bytes of a long hello, or of many certificates, stay counted.
func TestLongHandshakesAreHeld(t *testing.T) {
	s := &session{proxy: &Proxy{}}
	s.account.s = s
	h := &handshaking{account: &s.account}
	for _, step := range []struct{ n, held int }{{handshakeRead - 10, 0}, {10, 0}, {100, 300}, {1 << 10, 300 + 3<<10}} {
		if err := h.count(step.n); err != nil || s.account.held.Load() != int64(step.held) {
			t.Errorf("after %d bytes: %d are held, want %d; %v", h.read, s.account.held.Load(), step.held, err)
		}
	}
	h = &handshaking{account: &s.account}
	if err := h.count(handshakeRead + 1); err != nil || s.account.held.Load() != 300+3<<10+3 {
		t.Errorf("one read of %d bytes: %d are held; %v", h.read, s.account.held.Load(), err)
	}
	b := &s.proxy.budget
	b.proxy, b.line = s.proxy, make(chan struct{}, 1)
	b.max.Store(1 << 10)
	if err := h.count(1 << 20); err == nil {
		t.Error("there is no limit")
	}
}

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
