package proxy_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
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
		wantError(t, l.ended(t, proxy.ClientClosed), "the broker has sent nothing for 1m0s", "2 requests have no response")
	})
}

// wantError fails the test unless the error of a session's end has these parts.
func wantError(t *testing.T, e proxy.SessionEnd, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if e.Err == nil || !strings.Contains(e.Err.Error(), part) {
			t.Errorf("the session ended with %v, want %q", e.Err, part)
		}
	}
}

// A broker is not silent while a response comes, however slowly, though nothing of it can be
// passed on before it is there.
func TestSlowResponseOfClientThatEndedItsSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.send(1, metadataRequest(12))
		s.request(kmsg.Metadata, 1)
		c.closeWrite()
		frame := answerFrame(1, metadataAnswer(12, 0))
		go func() {
			for i := range frame {
				<-time.After(holdWait)
				_ = s.tryWrite(frame[i : i+1])
			}
		}()
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Duration(len(frame)+1) * holdWait))
		if _, err := io.ReadFull(c.in, make([]byte, wire.SizeLen)); err != nil {
			t.Fatalf("no response: %v", err)
		}
		c.close()
		s.close()
	})
}

// holdWait is the pause between two bytes of a response.
const holdWait = 20 * time.Second

// A client that has ended its side gets its responses, although it pauses for minutes. The
// broker's silence is the client's then.
func TestClientThatPausesBehindItsEnd(t *testing.T) {
	needsPlainTCP(t) // in memory, TLS has no half-closed connections
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		answer := l.owes(c, s)
		c.closeWrite()
		after(9 * time.Minute)
		c.wants("the first half", answer[:len(answer)/2])
		after(9 * time.Minute)
		c.wants("the second half", answer[len(answer)/2:])
		s.eof()
		s.close()
		c.eof()
		if e := l.ended(t, proxy.ClientClosed); e.Err != nil {
			t.Errorf("the session ended with %v", e.Err)
		}
	})
}

// One that takes nothing for ten minutes does not keep its session.
func TestClientThatTakesNothingBehindItsEnd(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		l.owes(c, s)
		c.closeWrite()
		endsAfter(t, s.peer, time.Now(), 10*time.Minute)
		wantError(t, l.ended(t, proxy.ClientClosed), "the client has taken nothing for 10m0s", "1 requests have no response")
	})
}

// owes has the broker send a large response that the client does not read.
func (l *lab) owes(c client, s brokerConn) (answer []byte) {
	c.send(1, of(4, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 1)
	answer = answerFrame(1, fetchAnswer(4, make([]byte, 1<<20)))
	_ = s.conn.SetWriteDeadline(time.Time{})
	go func() { _, _ = s.conn.Write(answer) }()
	return answer
}

// Nor is one cut that has to come back, because its broker has moved, and pauses in a response.
func TestClientThatPausesWhenItsBrokerMoves(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		first, old, moved := l.startBroker(t, 0, 0, 1), l.startBroker(t, 1), l.startBroker(t, 7)
		l.start(t, l.config())
		l.learned(t, 0, 1)
		c := l.dial(t, "bob.test:9101")
		c.send(0, heartbeat())
		s := old.take()
		s.request(kmsg.Heartbeat, 0)
		go func() { _ = s.tryWrite(answerFrame(0, heartbeatAnswer())) }()
		c.receive(0, heartbeatAnswer())
		response := l.owes(c, s)

		asker, asked := l.session(t, first)
		asker.send(1, metadataRequest(12))
		asked.request(kmsg.Metadata, 1)
		answer := metadataAnswer(12, 0, 1)
		answer.Brokers[1].Host, answer.Brokers[1].Port = brokerAddress(7)
		go func() { _ = asked.tryWrite(answerFrame(1, answer)) }()
		asker.receive(1, answerTo(12, kmsg.NewPtrMetadataResponse()))
		old.stop()
		l.vpc.Remove(brokerName(1))
		next := l.dial(t, "bob.test:9101")
		next.send(1, heartbeat())
		moved.take().request(kmsg.Heartbeat, 1)
		l.log.has(t, "broker has another address", "node=1")
		after(5 * time.Minute)
		c.wants("the response", response)
		s.eof()
		s.close()
		c.eof()
		c.close()
		l.ended(t, proxy.BrokerMoved)
	})
}

// A malformed response is the reason of the session's end, also if the client has ended its
// side, or has to come back.
func TestBadResponseBehindTheClientsEnd(t *testing.T) {
	needsPlainTCP(t) // a bubble does not see that crypto/tls waits for its own lock
	t.Parallel()
	for name, c := range map[string]struct {
		bytes []byte
		want  proxy.CloseReason
	}{
		"another correlation id": {answerFrame(9, heartbeatAnswer()), proxy.UnexpectedAnswer},
		"a negative size":        {[]byte{0xff, 0, 0, 0, 0, 0, 0, 1}, proxy.BadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l lab
				l.inMemory()
				client, s := l.open(t)
				client.send(1, heartbeat())
				s.request(kmsg.Heartbeat, 1)
				client.closeWrite()
				synctest.Wait() // until the proxy has read the end
				go func() { _ = s.tryWrite(c.bytes) }()
				client.eof()
				client.close()
				s.close()
				l.ended(t, c.want)
			})
		})
	}
}

// A broker that ends its side without a response to such a client has not failed: it may have
// seen that the client is gone.
func TestBrokerThatClosesBehindTheClientsEnd(t *testing.T) {
	needsPlainTCP(t) // a bubble does not see that crypto/tls waits for its own lock
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		c.closeWrite()
		synctest.Wait()
		s.close()
		c.eof()
		c.close()
		wantError(t, l.ended(t, proxy.ClientClosed), "1 requests have no response")
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
