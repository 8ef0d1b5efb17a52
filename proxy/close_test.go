package proxy_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A client that ends its side gets the responses to its requests. If the proxy ended the
// broker's side at once, the broker would drop them.
func TestHalfCloseStillDeliversAnswers(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.write(requestFrames(1, repeated(3, heartbeat())...))
	c.closeWrite()
	for id := range int32(3) {
		s.request(kmsg.Heartbeat, id+1)
	}
	for id := range int32(3) {
		s.silent() // the end is held back
		s.answer(id+1, heartbeatAnswer())
		c.receive(id+1, heartbeatAnswer())
	}
	s.eof()
	s.close()
	c.eof()
	l.ended(t, proxy.ClientClosed)
}

func TestClientCloseReachesBroker(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	promptly(t, func() {
		c.close()
		s.eof()
	})
	s.close()
	l.ended(t, proxy.ClientClosed)
}

func TestBrokerCloseReachesClientAfterItsBytes(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.write(requestFrames(1, heartbeat(), of(4, kmsg.NewPtrFetchRequest())))
	s.request(kmsg.Heartbeat, 1)
	s.request(kmsg.Fetch, 2)
	whole, half := answerFrame(1, heartbeatAnswer()), answerFrame(2, fetchAnswer(4, make([]byte, 100_000)))
	half = half[:len(half)/2]
	promptly(t, func() {
		s.write(append(whole, half...))
		s.close()
		c.wants("the whole answer", whole)
		c.wants("half an answer", half)
		c.eof()
	})
	c.close()
	e := l.ended(t, proxy.BrokerClosed)
	if e.Err == nil || !strings.Contains(e.Err.Error(), "1 requests have no response") {
		t.Errorf("the session ended with %v, which does not count the request without a response", e.Err)
	}
}

func TestBrokerResetReachesClient(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, heartbeat())
	s.request(kmsg.Heartbeat, 1)
	promptly(t, func() {
		s.reset()
		c.eof()
	})
	c.close()
	l.ended(t, proxy.BrokerReset)
	l.log.has(t, "level=WARN", "reason=broker_reset")
}

func TestClientResetInsideRequestReachesBroker(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frame := requestFrame(1, produceRequest(9, 1, "", make([]byte, 10_000)))
	c.write(frame[:5000])
	s.wants("the half that was sent", frame[:5000])
	promptly(t, func() {
		c.reset()
		if rest, _ := s.ended(); len(rest) > 0 {
			t.Errorf("the broker got %s behind a reset", excerpt(rest))
		}
	})
	l.ended(t, proxy.ClientReset)
}

// Half a request is never answered, but the requests in front of it are.
func TestClientEndInsideRequest(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frame := requestFrame(2, heartbeat())
	c.write(requestFrames(1, heartbeat()))
	c.write(frame[:len(frame)-1])
	c.closeWrite()
	s.request(kmsg.Heartbeat, 1)
	s.wants("the part that was sent", frame[:len(frame)-1])
	s.silent()
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	s.eof()
	s.close()
	c.eof()
	e := l.ended(t, proxy.ClientClosed)
	if e.Err == nil || !strings.Contains(e.Err.Error(), "inside a request") {
		t.Errorf("the session ended with %v", e.Err)
	}
}

// A broker that closes while the client is in the middle of a long request is
// heard of at once, not when the client has sent it all.
func TestBrokerCloseInsideRequestReachesClient(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frame := requestFrame(1, produceRequest(9, 1, "", make([]byte, 10_000)))
	c.write(frame[:5000])
	s.wants("the half that was sent", frame[:5000])
	promptly(t, func() {
		s.close()
		c.eof()
	})
	c.close()
	l.ended(t, proxy.BrokerClosed)
}

// Before the first response, clients take an orderly end for a refused login, and
// a reset for a broker that is down.
func TestBrokerEndBeforeTheFirstResponse(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(s brokerConn)
		resets bool
		reason proxy.CloseReason
	}{
		{"reset", func(s brokerConn) { s.reset() }, true, proxy.BrokerReset},
		{"orderly end", func(s brokerConn) { s.close() }, false, proxy.BrokerClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			l.start(t, l.config())
			conn := l.dial(t, "bob.test:9092")
			conn.send(1, heartbeat())
			s := b.take()
			s.request(kmsg.Heartbeat, 1)
			c.end(s)
			rest, err := conn.ended()
			if errors.Is(err, syscall.ECONNRESET) != c.resets || len(rest) > 0 {
				t.Errorf("the client got %d bytes and %v; want a reset: %t", len(rest), err, c.resets)
			}
			l.ended(t, c.reason)
		})
	}
}
