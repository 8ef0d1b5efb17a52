package wire_test

import (
	"testing"

	"kproxy/internal/wire"
)

var hellos = []struct {
	name  string
	bytes string
	want  wire.Foreign
}{
	{"TLS 1.0 record", "\x16\x03\x01\x02\x00\x01\x00", wire.TLS},
	{"TLS 1.2 record", "\x16\x03\x03\x00\x10", wire.TLS},
	{"SSL 3.0 record", "\x16\x03\x00\xff\xff", wire.TLS},
	{"GET", "GET / HTTP/1.1\r\n", wire.HTTP},
	{"HEAD", "HEAD /health HTTP/1.0\r\n", wire.HTTP},
	{"POST", "POST / HTTP/1.1\r\n", wire.HTTP},
	{"PUT", "PUT / HTTP/1.1\r\n", wire.HTTP},
	{"PATCH", "PATCH / HTTP/1.1\r\n", wire.HTTP},
	{"DELETE", "DELETE / HTTP/1.1\r\n", wire.HTTP},
	{"OPTIONS", "OPTIONS * HTTP/1.1\r\n", wire.HTTP},
	{"CONNECT", "CONNECT kafka:9092 HTTP/1.1\r\n", wire.HTTP},
	{"TRACE", "TRACE / HTTP/1.1\r\n", wire.HTTP},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", wire.HTTP},
	{"PROXY v1", "PROXY TCP4 192.0.2.1 192.0.2.2 5 9092\r\n", wire.ProxyV1},
	{"PROXY v1 unknown", "PROXY UNKNOWN\r\n", wire.ProxyV1},
	{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", wire.ProxyV2},
	{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", wire.SSH},

	{"a Kafka request", "\x00\x00\x00\x17\x00\x12\x00\x03", wire.NotForeign},
	{"the largest request of a broker's default", "\x06\x40\x00\x00", wire.NotForeign},
	{"an empty frame", "\x00\x00\x00\x00", wire.NotForeign},
	{"a negative size", "\xff\xff\xff\xff", wire.NotForeign},
	{"a GSSAPI token without a size", "\x60\x82\x02\x5c", wire.NotForeign},
	{"a TLS alert", "\x15\x03\x03\x00", wire.NotForeign},
	{"lower case", "get / HTTP/1.1\r\n", wire.NotForeign},
	{"GET without a blank", "GETX", wire.NotForeign},
	{"a letter amiss", "PROX", wire.ProxyV1}, // four bytes decide
	{"another letter", "PROP", wire.NotForeign},
}

func TestRecognize(t *testing.T) {
	for _, c := range hellos {
		t.Run(c.name, func(t *testing.T) {
			for n := wire.SizeLen; n <= len(c.bytes); n++ {
				if got := wire.Recognize([]byte(c.bytes[:n])); got != c.want {
					t.Errorf("the first %d bytes: got %q, want %q", n, got, c.want)
				}
			}
			// With fewer bytes than required it may not recognise a protocol, but it does
			// not return a wrong one.
			for n := range wire.SizeLen {
				if got := wire.Recognize([]byte(c.bytes[:n])); got != c.want && got != wire.NotForeign {
					t.Errorf("the first %d bytes: got %q, want %q or nothing", n, got, c.want)
				}
			}
		})
	}
}

// Signatures are compared before the size: a request that a broker would take must not
// look like one. Every 251st size is tried, which gives all four bytes all values.
func TestNoKafkaSizeIsForeign(t *testing.T) {
	const maxRequest = 100 << 20 // socket.request.max.bytes
	for size := 0; size <= maxRequest; size += 251 {
		b := []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		if got := wire.Recognize(b); got != wire.NotForeign {
			t.Fatalf("size %d: got %q", size, got)
		}
	}
	for _, c := range hellos {
		if c.want != wire.NotForeign && wire.Size([]byte(c.bytes)) <= maxRequest {
			t.Errorf("%s reads as size %d, which a broker would take", c.name, wire.Size([]byte(c.bytes)))
		}
	}
}

func TestRecognizeRefusedText(t *testing.T) {
	for text, want := range map[string]bool{
		"PING\r\n": true, "*1\r\n$4": true, "EHLO x": true, "get a\r\n": true,
		"\r\n\r\n": false, "\x00\x00\x00\x17": false, "K\xf6ln": false, "abc\x7f": false, "\x06@  ": false,
	} {
		if got := wire.RecognizeRefused([]byte(text)) == wire.Text; got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// The log line has advice for each.
func TestAdvice(t *testing.T) {
	for _, c := range hellos {
		if got := c.want.Advice(); (got == "") != (c.want == wire.NotForeign) {
			t.Errorf("%q: advice %q", c.want, got)
		}
	}
}
