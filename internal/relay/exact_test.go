package relay

import (
	"io"
	"net"
	"testing"
)

// An exact stream reads only the requested bytes, so that after a frame it holds nothing
// of the next one.
func TestExactStream(t *testing.T) {
	client, source := net.Pipe()
	broker, sink := net.Pipe()
	go func() {
		_, _ = client.Write(make([]byte, 1000))
		_ = client.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, sink) }()
	p := Stream{src: source, dst: broker, Exact: true}
	for range 10 {
		if _, err := p.Peek(4); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Peek(12); err != nil {
			t.Fatal(err)
		}
		if err := p.Pass(100); err != nil {
			t.Fatal(err)
		}
		if n := p.Buffered(); n != 0 {
			t.Fatalf("%d bytes of the next frame are buffered", n)
		}
	}
	_ = broker.Close()
}
