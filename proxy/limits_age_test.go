package proxy_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// aged opens a session in a bubble, through a proxy with conf's limits of time.
func (l *lab) aged(t *testing.T, edit func(conf *proxy.Config)) (client, brokerConn) {
	t.Helper()
	l.inMemory()
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	edit(conf)
	l.start(t, conf)
	return l.session(t, b)
}

func idleMinute(conf *proxy.Config) { conf.IdleTimeout = time.Minute }

// after waits in a bubble.
func after(d time.Duration) { <-time.After(d) }

// endedBetween fails the test unless the proxy ends the session at both sides,
// for this reason, when it was quiet for so long.
func (l *lab) endedBetween(t *testing.T, c client, s brokerConn, reason proxy.CloseReason, least, most time.Duration) {
	t.Helper()
	start := time.Now()
	_ = s.conn.SetReadDeadline(start.Add(most + time.Second))
	if _, err := s.in.ReadByte(); err == nil {
		t.Fatal("a byte came where the end was expected")
	}
	if took := time.Since(start); took < least || took > most {
		t.Errorf("the session ended after %v, want %v to %v", took, least, most)
	}
	s.close()
	c.eof()
	c.close()
	l.ended(t, reason)
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, idleMinute)
		for id := range int32(60) { // an hour, but never a minute without a byte
			after(50 * time.Second)
			exchange(c, s, id+1)
		}
		l.endedBetween(t, c, s, proxy.IdleTimeout, 55*time.Second, 70*time.Second)
	})
}

// A session that owes a response is not idle, however long it takes.
func TestIdleTimeoutLetsRequestsInFlightBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, idleMinute)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		after(time.Hour)
		go func() { _ = s.tryWrite(answerFrame(1, heartbeatAnswer())) }()
		c.receive(1, heartbeatAnswer())
		l.endedBetween(t, c, s, proxy.IdleTimeout, 50*time.Second, 70*time.Second)
	})
}

// Nor is one that has half a request, or half a response.
func TestIdleTimeoutLetsHalfFramesBe(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 4, 10} { // in the size, behind it, in the header
		synctest.Test(t, func(t *testing.T) {
			var l lab
			c, s := l.aged(t, idleMinute)
			request := requestFrame(1, heartbeat())
			c.write(request[:at])
			after(time.Hour)
			c.write(request[at:])
			s.request(kmsg.Heartbeat, 1)
			answer := answerFrame(1, heartbeatAnswer())
			go func() { _ = s.tryWrite(answer[:at]) }()
			after(time.Hour)
			go func() { _ = s.tryWrite(answer[at:]) }()
			c.receive(1, heartbeatAnswer())
			l.endedBetween(t, c, s, proxy.IdleTimeout, 50*time.Second, 70*time.Second)
		})
	}
}

// Requests that are never answered are a sign of life like any other.
func TestIdleTimeoutSeesUnansweredRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, idleMinute)
		for id := range int32(60) {
			after(50 * time.Second)
			c.write(requestFrame(id+1, produceRequest(9, 0, "", []byte("record"))))
			s.request(kmsg.Produce, id+1)
		}
		l.endedBetween(t, c, s, proxy.IdleTimeout, 50*time.Second, 70*time.Second)
	})
}

// A session that is too old gets its outstanding responses, however long they take, and then
// ends. Later requests of its client are not forwarded.
func TestMaxAgeDeliversAnswersOwed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, func(conf *proxy.Config) { conf.MaxAge = 10 * time.Minute })
		after(9 * time.Minute)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		c.send(2, heartbeat())
		s.request(kmsg.Heartbeat, 2)
		after(time.Hour)
		for id := range int32(2) {
			s.silent()
			go func() { _ = s.tryWrite(answerFrame(id+1, heartbeatAnswer())) }()
			c.receive(id+1, heartbeatAnswer())
		}
		l.endedBetween(t, c, s, proxy.MaxAge, 0, time.Second)
	})
}

// A request that has begun is read to its end, and answered.
func TestMaxAgeLetsHalfARequestBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, func(conf *proxy.Config) { conf.MaxAge = 10 * time.Minute })
		request := requestFrame(1, heartbeat())
		c.write(request[:10])
		after(time.Hour)
		c.write(request[10:])
		s.request(kmsg.Heartbeat, 1)
		go func() { _ = s.tryWrite(answerFrame(1, heartbeatAnswer())) }()
		c.receive(1, heartbeatAnswer())
		l.endedBetween(t, c, s, proxy.MaxAge, 0, time.Second)
	})
}

func TestMaxAgeOfIdleSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		c, s := l.aged(t, func(conf *proxy.Config) { conf.MaxAge = 10 * time.Minute })
		l.endedBetween(t, c, s, proxy.MaxAge, 10*time.Minute-time.Second, 10*time.Minute+6*time.Second)
	})
}

// The same over TCP, where a busy client loses no response by it.
func TestLimitsOfTimeOverTCP(t *testing.T) {
	t.Parallel()
	for name, edit := range map[proxy.CloseReason]func(conf *proxy.Config){
		proxy.IdleTimeout: func(conf *proxy.Config) { conf.IdleTimeout = stall },
		proxy.MaxAge:      func(conf *proxy.Config) { conf.MaxAge = stall },
	} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			conf := l.config()
			edit(conf)
			l.start(t, conf)
			c, s := l.session(t, b)
			start := time.Now()
			c.send(1, heartbeat())
			s.request(kmsg.Heartbeat, 1)
			tick := time.NewTimer(2 * stall)
			<-tick.C
			s.silent()
			s.answer(1, heartbeatAnswer())
			c.receive(1, heartbeatAnswer())
			endedByProxy(c, s)
			if e := l.ended(t, name); e.Duration < 2*stall {
				t.Errorf("the session ended after %v of %v", e.Duration, time.Since(start))
			}
		})
	}
}

// A client that sends without a pause is ended all the same, and between two
// requests: all that the broker has seen is answered.
func TestMaxAgeOfClientWithoutPause(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.MaxAge = 200 * time.Millisecond
	l.start(t, conf)
	c, s := l.session(t, b)
	frame := requestFrame(1, produceRequest(9, -1, "", make([]byte, 100_000)))
	go func() {
		for c.tryWrite(frame) == nil {
		}
	}()
	var seen, answered int
	served := make(chan error, 1)
	go func() {
		for {
			if _, err := s.tryRequest(); err != nil {
				_ = s.conn.Close()
				served <- err
				return
			}
			seen++
			if err := s.tryWrite(answerFrame(1, answerTo(9, kmsg.NewPtrProduceResponse()))); err != nil {
				served <- err
				return
			}
		}
	}()
	for {
		if _, err := c.tryFrame(); err != nil {
			break
		}
		answered++
	}
	if err := <-served; !errors.Is(err, io.EOF) {
		t.Errorf("the broker's connection ended with %v", err)
	}
	if seen != answered {
		t.Errorf("the broker saw %d requests, and the client %d answers", seen, answered)
	}
	if e := l.ended(t, proxy.MaxAge); e.Duration > patience {
		t.Errorf("the session lasted %v", e.Duration)
	}
}
