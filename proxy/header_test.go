package proxy

import (
	"errors"
	"testing"

	"kproxy/internal/relay"
	"kproxy/internal/wire"
)

// However few bytes a client sends at a time, its header is parsed a few times only, and no
// byte behind its request is waited for.
func TestHeadersAreParsedAFewTimes(t *testing.T) {
	buffer := make([]byte, 2*relay.MaxHeader)
	for _, frame := range []int{wire.RequestPrefixLen + 2, 100, relay.BufferSize, relay.MaxHeader, 2 * relay.MaxHeader} {
		parsed, end := 0, min(frame, relay.MaxHeader)
		for n := wire.RequestPrefixLen; n < end; parsed++ {
			next, err := more(buffer[:n], int32(frame-wire.SizeLen), wire.ErrShort)
			if err != nil || next <= n || next > end {
				t.Fatalf("a frame of %d bytes: after %d bytes %d are wanted, %v", frame, n, next, err)
			}
			n = next
		}
		if parsed > 20 {
			t.Errorf("a frame of %d bytes is parsed %d times", frame, parsed)
		}
	}
	if n, err := more(buffer[:relay.MaxHeader], 1<<20, wire.ErrShort); !errors.Is(err, wire.ErrShort) {
		t.Errorf("a header of %d bytes: %d more are wanted", relay.MaxHeader, n)
	}
	if n, err := more(buffer[:20], 16, nil); n != 0 || err != nil {
		t.Errorf("a whole header: %d more are wanted, %v", n, err)
	}
}
