package proxy_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A client that has ended its side may be gone altogether, which shows only when
// something is sent to it. A broker that then says nothing for a minute is not
// waited for any longer.
func TestSilentBrokerOfClientThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.write(requestFrames(1, repeated(2, heartbeat())...))
		s.request(kmsg.Heartbeat, 1)
		s.request(kmsg.Heartbeat, 2)
		synctest.Wait() // until the proxy has counted the response that opened the session
		start := time.Now()
		c.close()
		endsAfter(t, s.peer, start, time.Minute)
		l.ended(t, proxy.ClientClosed)
	})
}

// As long as responses come, a client that has ended its side gets them, however
// long it takes.
func TestSlowBrokerOfClientThatEndedItsSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		const requests = 60
		go func() {
			_ = c.tryWrite(requestFrames(1, repeated(requests, heartbeat())...))
			c.closeWrite()
		}()
		for id := range int32(requests) {
			s.request(kmsg.Heartbeat, id+1)
		}
		for id := range int32(requests) {
			<-time.After(50 * time.Second)
			go func() { _ = s.tryWrite(answerFrame(id+1, heartbeatAnswer())) }()
			c.receive(id+1, heartbeatAnswer())
		}
		s.eof()
		s.close()
		c.eof()
		l.ended(t, proxy.ClientClosed)
	})
}

// If the proxy has ended its side of a broker's connection, and the broker does not end its
// own, the proxy closes the connection after a few seconds.
func TestBrokerThatDoesNotClose(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.close()
		s.eof()
		start := time.Now()
		if e := l.ended(t, proxy.ClientClosed); time.Since(start) > patience {
			t.Errorf("the session lasted %v", e.Duration)
		}
	})
}

// A client that is still sending when its broker closes reads a clean end behind the last
// response, and the proxy reads from the client for a while. Closing at once would reset the
// connection, and could lose the response.
func TestClientThatSendsWhenItsBrokerCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		go func() {
			_ = s.tryWrite(answerFrame(1, heartbeatAnswer()))
			s.close()
		}()
		c.receive(1, heartbeatAnswer())
		c.eof()
		c.write(requestFrames(2, repeated(1000, heartbeat())...))
		start := time.Now()
		l.ended(t, proxy.BrokerClosed) // although the client does not end its side
		if got := time.Since(start); got != time.Second {
			t.Errorf("the client was read for %v, want a second", got)
		}
	})
}

// endsAfter fails the test unless p's other side ends when that much time has
// passed since start, give or take a second.
func endsAfter(t *testing.T, p *peer, start time.Time, want time.Duration) {
	t.Helper()
	for {
		_ = p.conn.SetReadDeadline(start.Add(want + time.Second))
		if _, err := p.in.ReadByte(); err != nil {
			break
		}
		t.Error("a byte came where none was expected")
	}
	if got := time.Since(start); got < want-time.Second || got >= want+time.Second {
		t.Errorf("the connection ended after %v, want %v", got, want)
	}
}
