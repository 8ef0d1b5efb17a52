package proxy_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A connection that does not speak Kafka is closed at once. The log has the protocol and the
// fix.
func TestForeignProtocols(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, sent, log, advice string }{
		{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS hello", "set security.protocol to PLAINTEXT"},
		{"HTTP GET", "GET / HTTP/1.1\r\nHost: kafka\r\n\r\n", "an HTTP request", "point health checks"},
		{"HTTP HEAD", "HEAD / HTTP/1.1\r\n\r\n", "an HTTP request", "point health checks"},
		{"HTTP POST", "POST /topics HTTP/1.1\r\n\r\n", "an HTTP request", "point health checks"},
		{"PROXY v1", "PROXY TCP4 10.0.0.1 10.0.0.2 51000 9092\r\n", "a PROXY protocol v1 header", "switch the PROXY protocol off"},
		{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "a PROXY protocol v2 header", "switch the PROXY protocol off"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", "an SSH banner", "check the host and port"},
		{"Redis", "PING\r\n", "text, which is not Kafka", "check the host and port"},
		{"Redis, by its protocol", "*1\r\n$4\r\nPING\r\n", "text, which is not Kafka", "check the host and port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			l.start(t, l.config())
			l.learned(t, 0)
			for _, sent := range []string{tt.sent, tt.sent[:4]} {
				c := l.dial(t, "bob.test:9092")
				promptly(t, func() {
					c.write([]byte(sent))
					if rest, _ := c.ended(); len(rest) > 0 {
						t.Errorf("the client was answered: %s", excerpt(rest))
					}
				})
				l.ended(t, proxy.ForeignProtocol)
				l.log.has(t, "level=WARN", "reason=foreign_protocol", tt.log, tt.advice)
			}
			if n := b.sessions(); n > 0 {
				t.Errorf("the broker was dialled %d times", n)
			}
		})
	}
}

const smallLimit = 1 << 20 // MaxRequestBytes of the tests of sizes

// impossibleSizes cannot be those of a request.
var impossibleSizes = []struct {
	name string
	size int32
	want proxy.CloseReason
}{
	{"largest", 0x7fffffff, proxy.RequestTooLarge},
	{"one too many", smallLimit + 1, proxy.RequestTooLarge},
	{"-1", -1, proxy.BadRequest},
	{"most negative", -1 << 31, proxy.BadRequest},
	{"0", 0, proxy.BadRequest},
	{"7", 7, proxy.BadRequest},
}

// The size alone ends the session: nothing behind it is waited for, and nothing
// is allocated for it.
func TestImpossibleSizes(t *testing.T) {
	t.Parallel()
	for _, tt := range impossibleSizes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			conf := l.config()
			conf.MaxRequestBytes = smallLimit
			l.start(t, conf)
			l.learned(t, 0)
			size := binary.BigEndian.AppendUint32(nil, uint32(tt.size))

			c := l.dial(t, "bob.test:9092")
			promptly(t, func() {
				c.write(size)
				c.eof()
			})
			l.ended(t, tt.want)
			if n := b.sessions(); n > 0 {
				t.Errorf("the broker was dialled %d times", n)
			}

			c, s := l.session(t, b)
			promptly(t, func() {
				c.write(size)
				c.eof()
				s.eof()
			})
			l.ended(t, tt.want)
			l.log.has(t, "level=WARN", "reason="+string(tt.want))
		})
	}
}

// The largest request that is allowed is.
func TestLargestRequest(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.MaxRequestBytes = smallLimit
	l.start(t, conf)
	c := l.dial(t, "bob.test:9092")
	frame := requestFrame(1, produceRequest(3, -1, "", nil))
	frame = append(frame, make([]byte, 4+smallLimit-len(frame))...)
	binary.BigEndian.PutUint32(frame, smallLimit)
	sent := make(chan error, 1)
	go func() { sent <- c.tryWrite(frame) }()
	s := b.take()
	if got := s.request(kmsg.Produce, 1).frame; !bytes.Equal(got, frame) {
		t.Error("the request changed on its way")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.close()
	s.answer(1, answerTo(3, kmsg.NewPtrProduceResponse()))
	s.eof()
	s.close()
	l.ended(t, proxy.ClientClosed)
}
