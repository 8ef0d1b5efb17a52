package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/pires/go-proxyproto"

	"kproxy/internal/wire"
)

const v2Signature = "\r\n\r\n\x00\r\nQUIT\n"

// FuzzProxyHeaderLen has go-proxyproto as its oracle: where that reads a header,
// it has read as many bytes.
func FuzzProxyHeaderLen(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 198.51.100.9 4711 9092\r\n\x00\x00\x00\x20"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY " + string(bytes.Repeat([]byte("x"), 120)) + "\r\n"))
	f.Add([]byte(v2Signature + "\x20\x00\x00\x00"))
	f.Add([]byte(v2Signature + "\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02next"))
	f.Add([]byte(v2Signature + "\x21\x11\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < wire.SizeLen {
			return
		}
		if is := wire.Recognize(b); is != wire.ProxyV1 && is != wire.ProxyV2 {
			return
		}
		n, err := wire.ProxyHeaderLen(b)
		if err != nil {
			if !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if n > len(b) {
			t.Fatalf("a header of %d bytes in %d", n, len(b))
		}
		for _, short := range truncations(n) {
			if short < wire.SizeLen {
				continue
			}
			if _, err := wire.ProxyHeaderLen(b[:short:short]); !errors.Is(err, wire.ErrShort) {
				t.Fatalf("%d bytes of a header of %d: %v, want ErrShort", short, n, err)
			}
		}
		in := bufio.NewReader(bytes.NewReader(b))
		if _, err := proxyproto.Read(in); err != nil {
			return
		}
		if rest, _ := io.ReadAll(in); len(rest) != len(b)-n {
			t.Fatalf("go-proxyproto has read %d bytes, want %d", len(b)-len(rest), n)
		}
	})
}
