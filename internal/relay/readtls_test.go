package relay

import (
	"net"
	"testing"
)

// spy is a connection that inspects the stream which reads it.
type spy struct {
	net.Conn
	pipe  *Stream
	bytes []byte
	held  []int // bytes of buffer that the pipe has at each read
}

func (s *spy) Read(b []byte) (int, error) {
	s.held = append(s.held, len(s.pipe.buf))
	n := copy(b, s.bytes)
	s.bytes = s.bytes[n:]
	return n, nil
}

// Between frames a pipe waits for the first byte of a TLS connection, and has no buffer
// meanwhile. The bytes that follow come at once. Inside a frame it reads all that has
// come: a single byte would become a packet of its own.
func TestTLSIsWaitedForWithoutABuffer(t *testing.T) {
	p := &Stream{secure: true}
	s := &spy{pipe: p}
	p.src = s
	for range 2 {
		p.Boundary()
		s.bytes, s.held = []byte("12345678"), nil
		b, err := p.Peek(8)
		if err != nil || string(b) != "12345678" {
			t.Fatalf("got %q, %v", b, err)
		}
		if len(s.held) != 2 || s.held[0] != 0 || s.held[1] == 0 {
			t.Errorf("the pipe had buffers of %v bytes at its reads, want none at the first of two", s.held)
		}
		if err := p.Drop(8); err != nil {
			t.Fatal(err)
		}
	}
	s.bytes = []byte("abcdefgh12345678")
	p.Boundary()
	if _, err := p.Peek(16); err != nil {
		t.Fatal(err)
	}
	_ = p.Drop(8)
	p.Boundary() // the next frame has come behind it
	_ = p.Drop(8)
	s.bytes, s.held = []byte("12345678"), nil
	if _, err := p.Peek(8); err != nil || len(s.held) != 1 {
		t.Errorf("inside a frame it took %d reads, %v, want one", len(s.held), err)
	}
}
