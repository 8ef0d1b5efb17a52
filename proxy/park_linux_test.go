package proxy_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"kproxy/proxy"
)

// parked waits until so many sessions are parked.
func (l *lab) parked(t *testing.T, want int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if got, _ := l.proxy.Parked(); got == want {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d sessions are parked, want %d", got, want)
		}
	}
}

// A session that is silent has no goroutine, and goes on as if it had.
func TestSilentSessionsAreParked(t *testing.T) {
	needsPlainTCP(t)
	const sessions = 20
	var l lab
	l.first = l.startBroker(t, 0, 0)
	l.start(t, l.config())
	var clients []client
	var brokers []brokerConn
	for range sessions {
		c, s := l.session(t, l.first)
		clients, brokers = append(clients, c), append(brokers, s)
	}
	l.parked(t, sessions)
	before := runtime.NumGoroutine()
	for round := range int32(3) {
		for i, c := range clients {
			exchange(c, brokers[i], 1+round)
		}
		l.parked(t, sessions)
	}
	if got := runtime.NumGoroutine(); got >= before+sessions {
		t.Errorf("%d goroutines, and %d after every session has gone on three times", before, got)
	}
	for i, c := range clients {
		c.close()
		brokers[i].eof()
		brokers[i].close()
		l.ended(t, proxy.ClientClosed)
	}
	l.parked(t, 0)
}

// Between raw tokens a session is not parked: the next frame is no request. If a drain finds a
// part of a token, the whole token passes.
func TestTokensAreNotParked(t *testing.T) {
	var l lab
	c, s := l.open(t)
	handshake(c, s, 1, "SCRAM-SHA-256")
	l.parked(t, 0)
	time.Sleep(300 * time.Millisecond) //nolint:forbidigo // there is no event for nothing happening
	if got, _ := l.proxy.Parked(); got != 0 {
		t.Fatalf("%d sessions are parked in the middle of a login", got)
	}
	passToken(c.peer, s.peer, "first")
	passToken(s.peer, c.peer, "answer")
	second := token("second, which comes in two parts")
	c.write(second[:8])
	s.wants("a part of the token", second[:8])
	done := l.shutdown(patience)
	l.refused(t, "bob.test:9092")
	c.write(second[8:])
	s.wants("the rest of it", second[8:])
	s.write(token("answer"))
	c.wants("the answer", token("answer"))
	endedByProxy(c, s)
	wantCut(t, done, 0)
}

// A parked session ends as any other does, for every cause.
func TestParkedSessionsEnd(t *testing.T) {
	needsPlainTCP(t)
	ends := []struct {
		name string
		edit func(conf *proxy.Config)
		end  func(t *testing.T, l *lab, c client, s brokerConn)
		want proxy.CloseReason
	}{
		{name: "client closes", want: proxy.ClientClosed, end: func(_ *testing.T, _ *lab, c client, s brokerConn) {
			c.close()
			s.eof()
			s.close()
		}},
		{name: "client resets", want: proxy.ClientReset, end: func(_ *testing.T, _ *lab, c client, _ brokerConn) { c.reset() }},
		{name: "broker closes", want: proxy.BrokerClosed, end: func(_ *testing.T, _ *lab, c client, s brokerConn) {
			s.close()
			c.eof()
			c.close()
		}},
		{name: "broker sends a response without a request", want: proxy.UnexpectedAnswer, end: func(_ *testing.T, _ *lab, c client, s brokerConn) {
			_ = s.tryWrite(answerFrame(7, heartbeatAnswer()))
			c.eof()
			c.close()
		}},
		{name: "client sends bytes that are no request", want: proxy.BadRequest, end: func(_ *testing.T, _ *lab, c client, _ brokerConn) {
			c.write([]byte{0, 0, 0, 1, 0})
		}},
		{
			name: "it is too old", want: proxy.MaxAge,
			edit: func(conf *proxy.Config) { conf.MaxAge = stall },
			end: func(_ *testing.T, _ *lab, c client, s brokerConn) {
				s.eof()
				s.close()
				c.eof()
				c.close()
			},
		},
		{
			name: "it is idle", want: proxy.IdleTimeout,
			edit: func(conf *proxy.Config) { conf.IdleTimeout = stall },
			end: func(_ *testing.T, _ *lab, c client, s brokerConn) {
				s.eof()
				s.close()
				c.eof()
				c.close()
			},
		},
		{name: "the proxy stops", want: proxy.Drained, end: func(t *testing.T, l *lab, c client, s brokerConn) {
			t.Helper()
			go func() {
				s.eof()
				s.close()
				c.eof()
				c.close()
			}()
			promptly(t, func() { l.proxy.Shutdown(context.Background()) })
		}},
		{name: "the proxy has no time to stop", want: proxy.Drained, end: func(t *testing.T, l *lab, _ client, _ brokerConn) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			promptly(t, func() { l.proxy.Shutdown(ctx) }) // neither side ends its own
		}},
	}
	before := measure()
	t.Run("sessions", func(t *testing.T) {
		for _, e := range ends {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				var l lab
				l.first = l.startBroker(t, 0, 0)
				conf := l.config()
				if e.edit != nil {
					e.edit(conf)
				}
				l.start(t, conf)
				c, s := l.session(t, l.first)
				defer c.close()
				defer s.close()
				l.parked(t, 1)
				e.end(t, &l, c, s)
				l.ended(t, e.want)
				l.parked(t, 0)
			})
		}
	})
	before.settled(t)
}

// Whatever comes while a session is being parked, from either side, is delivered.
func TestNothingIsLostWhileParking(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	const sessions, exchanges = 8, 60
	var l lab
	l.first = l.startBroker(t, 0, 0)
	conf := l.config()
	conf.ParkAfter = time.Millisecond
	l.start(t, conf)
	var running sync.WaitGroup
	for i := range sessions {
		c, s := l.session(t, l.first)
		running.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for id := range int32(exchanges) {
				after(time.Duration(random.IntN(30)) * time.Millisecond) // sessions are looked at every 10 ms
				exchange(c, s, 1+id)
			}
			c.close()
			s.eof()
			s.close()
		})
	}
	running.Wait()
	_, ever := l.proxy.Parked()
	if ever < sessions*exchanges/10 {
		t.Errorf("sessions were parked %d times in %d exchanges: that proves little", ever, sessions*exchanges)
	}
}
