package proxy

import (
	"net"
	"testing"
)

// A processor is left to the sessions that there are, where there is more than one.
func TestHandshakesLeaveAProcessor(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		if got := placesFor(processors); got != want {
			t.Errorf("%d handshakes on %d processors, want %d", got, processors, want)
		}
	}
}

// A client that does not read what it is told holds no place meanwhile.
func TestHandshakeWritesWithoutAPlace(t *testing.T) {
	near, far := net.Pipe() // a write waits for its reader
	defer far.Close()
	h := &handshaking{Conn: near, ctx: t.Context(), places: newPlaces(1, new(waiters))}
	go func() { _, _ = far.Write([]byte("hello")) }()
	if _, err := h.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if len(h.places.taken) != 1 {
		t.Fatal("it works without a place")
	}
	wrote := make(chan error)
	go func() {
		_, err := h.Write([]byte("hello"))
		wrote <- err
	}()
	h.places.taken <- struct{}{} // another's, which would wait for ever
	if _, err := far.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}
