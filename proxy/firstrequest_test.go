package proxy_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// A connection that sends nothing is a health check or a port scan. It costs no
// broker a connection, and no reader of the log a line.
func TestConnectAndCloseIsNotWorthALine(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	l.learned(t, 0)
	for range 10 {
		c := l.dial(t, "bob.test:9092")
		c.closeWrite()
		c.eof()
		l.ended(t, proxy.NoRequest)
	}
	l.log.waitFor(t, "10 lines", func(all []string) bool { return matching(all, []string{"reason=no_request"}) == 10 })
	l.log.times(t, 10, "level=DEBUG", "reason=no_request")
	if n := b.sessions(); n > 0 {
		t.Errorf("the broker was dialled %d times", n)
	}
}

// A client has half a minute to say what it wants; before it has, nobody is
// dialled, however much of its first header has come.
func TestNoCompleteHeader(t *testing.T) {
	t.Parallel()
	frame := requestFrame(1, produceRequest(9, -1, "", nil))
	const header = 4 + 8 + 2 + len("test") + 1 // size, prefix, client id, tags
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		l.learned(t, 0)
		start := time.Now()
		var clients []client
		for n := range header {
			c := l.dial(t, "bob.test:9092")
			if n > 0 {
				c.write(frame[:n])
			}
			clients = append(clients, c)
		}
		for _, c := range clients {
			endsAfter(t, c.peer, start, config.DefaultFirstRequestTimeout)
			l.ended(t, proxy.FirstRequestTimeout)
		}
		l.log.has(t, "level=WARN", "reason=first_request_timeout", "health check")
		if n := b.sessions(); n > 0 {
			t.Errorf("the broker was dialled %d times", n)
		}
	})
}

// The same client, but it goes away: that is no timeout.
func TestEndInsideFirstHeader(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	l.learned(t, 0)
	c := l.dial(t, "bob.test:9092")
	c.write(requestFrame(1, heartbeat())[:7])
	c.closeWrite()
	c.eof()
	l.ended(t, proxy.ClientClosed)
	if n := b.sessions(); n > 0 {
		t.Errorf("the broker was dialled %d times", n)
	}
}

func TestHeaderByteByByte(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		c := l.dial(t, "bob.test:9092")
		frame := requestFrame(1, produceRequest(9, -1, "transaction", []byte("records")))
		go func() { _ = c.trickle(frame, 1, time.Second/5) }()
		s := b.take()
		if got := s.request(kmsg.Produce, 1).frame; !bytes.Equal(got, frame) {
			t.Errorf("the broker got %s, want %s", excerpt(got), excerpt(frame))
		}
		s.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
		c.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
		finish(t, &l, c, s)
	})
}

// What the proxy holds of a request to find acks is bounded, whatever the client
// says that it will send.
func TestHeaderThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	id := strings.Repeat("x", 1<<20) // acks are behind it
	go func() { _ = c.tryWrite(requestFrame(1, produceRequest(9, -1, id, nil))) }()
	_, _ = c.ended()
	s.eof()
	l.ended(t, proxy.BadRequest)
}

// The first header is enough to dial the broker, whatever is behind it, and no
// later one dials again.
func TestOneBrokerConnectionForEachClient(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	l.learned(t, 0)
	for before := range 3 {
		c := l.dial(t, "bob.test:9092")
		frame := requestFrame(0, heartbeat())
		c.write(frame[:len(frame)-1])
		s := b.take()
		c.write(append(frame[len(frame)-1:], requestFrame(1, heartbeat())...))
		for id := range int32(2) {
			s.request(kmsg.Heartbeat, id)
			s.answer(id, heartbeatAnswer())
			c.receive(id, heartbeatAnswer())
		}
		finish(t, &l, c, s)
		if got := b.sessions(); got != before+1 {
			t.Errorf("the broker was dialled %d times for %d clients", got, before+1)
		}
	}
}

// Load balancers end their health checks by a reset, too.
func TestConnectAndResetIsNotWorthALine(t *testing.T) {
	t.Parallel()
	l := newEdgeLab(t)
	l.start(t, l.conf)
	c := l.dial(t, "bob.test:9092")
	c.reset()
	l.ended(t, proxy.NoRequest)

	var plain lab
	plain.start(t, plain.config())
	c = plain.dial(t, "bob.test:9092")
	c.reset()
	plain.ended(t, proxy.NoRequest)
	plain.log.has(t, "level=DEBUG", "reason=no_request")
}
