package proxy_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// shutdown starts a Shutdown with this limit. The channel gets how many sessions
// were cut.
func (l *lab) shutdown(limit time.Duration) <-chan int {
	done := make(chan int, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		done <- l.proxy.Shutdown(ctx)
	}()
	return done
}

// refused waits until the proxy takes no connection at address.
func (l *lab) refused(t *testing.T, address string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		conn, err := l.outside.Dial(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
	t.Fatalf("%s still takes connections", address)
}

func wantCut(t *testing.T, done <-chan int, want int) {
	t.Helper()
	select {
	case got := <-done:
		if got != want {
			t.Errorf("Shutdown cut %d sessions, want %d", got, want)
		}
	case <-time.After(patience):
		t.Fatal("Shutdown does not return")
	}
}

func TestShutdownDeliversAnswersInFlight(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.write(requestFrames(1, repeated(3, heartbeat())...))
	for id := range int32(3) {
		s.request(kmsg.Heartbeat, id+1)
	}
	done := l.shutdown(patience)
	l.refused(t, "bob.test:9092")
	l.refused(t, "bob.test:9100")
	for id := range int32(3) {
		s.silent() // the end is held back
		s.answer(id+1, heartbeatAnswer())
		c.receive(id+1, heartbeatAnswer())
	}
	endedByProxy(c, s)
	wantCut(t, done, 0)
	l.ended(t, proxy.Drained)
}

// A session that waits for its client to end its side goes on waiting when a drain comes: if it
// closed the connection while the client sends, a reset would overtake the last responses.
func TestShutdownBehindTheBrokersEnd(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		s.close()
		synctest.Wait() // kproxy has ended the client's side, and reads on
		done := l.shutdown(patience)
		synctest.Wait()
		if err := c.tryWrite(requestFrame(1, heartbeat())); err != nil {
			t.Errorf("kproxy does not read the client's bytes: %v", err)
		}
		c.close()
		wantCut(t, done, 0)
		l.ended(t, proxy.BrokerClosed)
	})
}

// A connection that has had no response yet is reset: some clients take the plain end of such a
// connection for a mistake in their own configuration, and do not come back.
func TestShutdownClosesIdleSessionsAtOnce(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c, s := l.session(t, b)
	silent := l.dial(t, "bob.test:9092") // has sent nothing
	l.learned(t, 0)
	l.opened(t, 2) // it is accepted, or it would see no session's end
	var done <-chan int
	promptly(t, func() {
		done = l.shutdown(patience)
		s.eof()
		s.close()
		c.eof()
		if rest, err := silent.ended(); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
			t.Errorf("without a response: got %s and error %v, want nothing and a reset", excerpt(rest), err)
		}
	})
	c.close()
	wantCut(t, done, 0)
	l.ended(t, proxy.Drained)
	l.ended(t, proxy.Drained)
}

// A request whose first bytes have arrived when the drain starts is forwarded and answered.
func TestShutdownFinishesHalfARequest(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	frame := requestFrame(1, produceRequest(9, -1, "", make([]byte, 10_000)))
	c.write(frame[:5000])
	s.wants("the half that was sent", frame[:5000])
	done := l.shutdown(patience)
	l.refused(t, "bob.test:9092")
	c.silent()
	c.write(frame[5000:])
	s.wants("the other half", frame[5000:])
	s.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	c.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	endedByProxy(c, s)
	wantCut(t, done, 0)
	l.ended(t, proxy.Drained)
}

// Brokers that never answer do not hold the process up. The bubble fails the test
// if a goroutine is left.
func TestShutdownCutsWhatIsLeftAtItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		const sessions = 3
		var clients []client
		for range sessions {
			c, s := l.session(t, b)
			c.send(1, heartbeat())
			s.request(kmsg.Heartbeat, 1)
			clients = append(clients, c)
		}
		start := time.Now()
		done := l.shutdown(30 * time.Second)
		for _, c := range clients {
			endsAfter(t, c.peer, start, 30*time.Second)
		}
		wantCut(t, done, sessions)
		for range sessions {
			e := l.ended(t, proxy.DrainTimeout)
			if e.Err == nil {
				t.Error("the session's end does not say that an answer is missing")
			}
		}
		l.log.has(t, "level=WARN", "reason=drain_timeout")
	})
}

// Without a limit of the caller's, the configured one holds.
func TestShutdownHasALimitOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		start := time.Now()
		if cut := l.proxy.Shutdown(t.Context()); cut != 1 {
			t.Errorf("cut %d sessions, want 1", cut)
		}
		if took := time.Since(start); took != config.DefaultDrainTimeout {
			t.Errorf("it took %v, want %v", took, config.DefaultDrainTimeout)
		}
	})
}

// A session that has delivered every response, and waits for the end of the other sides, is owed nothing.
func TestShutdownCountsOwedSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.DrainTimeout = 500 * time.Millisecond // shorter than the wait for the client's end
		l.start(t, conf)
		idle, s := l.session(t, b)
		idle.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		s.answer(1, heartbeatAnswer())
		idle.receive(1, heartbeatAnswer())
		if cut := l.proxy.Shutdown(t.Context()); cut != 0 {
			t.Errorf("%d sessions were owed responses, want 0", cut)
		}
		l.ended(t, proxy.Drained)
	})
}

// Where another process serves at the same address, a client that has just connected gets a response first.
func TestShutdownWithReusePort(t *testing.T) {
	t.Parallel()
	needsPlainTCP(t)
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.ReusePort = true
		l.start(t, conf)
		old, s := l.session(t, b)
		silent := l.dial(t, "bob.test:9092")
		fresh := l.dial(t, "bob.test:9092")
		synctest.Wait()
		start, done := time.Now(), make(chan int)
		go func() { done <- l.proxy.Shutdown(context.Background()) }()
		endedByProxy(old, s)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("a session that had had a response ended after %v", took)
		}
		fresh.send(1, heartbeat())
		s = b.take()
		s.request(kmsg.Heartbeat, 1)
		s.answer(1, heartbeatAnswer())
		fresh.receive(1, heartbeatAnswer())
		endedByProxy(fresh, s)
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("a session that got its first response ended after %v", took)
		}
		if cut := <-done; cut != 0 {
			t.Errorf("%d sessions were cut", cut)
		}
		silent.close() // kproxy has ended it
	})
}

// A session that ends while its broker is dialled sends that broker nothing, even if the dial
// succeeds. (A login with raw tokens would wait longest.)
func TestShutdownEndsWhatIsBeingDialled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.Clusters[0].Dial = []config.DialRule{{Node: new(int32(1)), To: "slow.vpc.invalid:9092"}}
		conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "slow.vpc.invalid:9092" {
				<-ctx.Done()
				address, ctx = brokerName(0), context.WithoutCancel(ctx)
			}
			return l.vpc.Dial(ctx, network, address)
		}
		b.names = brokersNamed(0, 1)
		l.start(t, conf)
		l.learned(t, 0, 1)
		c := l.dial(t, "bob.test:9101")
		c.send(1, handshakeRequest(0, "PLAIN"))
		synctest.Wait() // until it is dialled
		wantCut(t, l.shutdown(time.Second), 0)
		c.eof()
		// Over TLS the broker may be in the middle of its handshake.
		if rest, err := b.take().ended(); len(rest) > 0 || err != nil && !*overTLS {
			t.Errorf("the broker got %s and %v, want nothing and a clean end", excerpt(rest), err)
		}
		l.ended(t, proxy.Drained)
	})
}
