package proxy_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
)

// beginWithin is how long a client of slowConfig has for its first header. The transfers of
// the tests take longer.
const beginWithin = time.Second

func slowConfig(l *lab) *proxy.Config {
	conf := l.config()
	conf.FirstRequestTimeout = beginWithin
	return conf
}

// Only the first header has a deadline. A frame that has begun may take any time, on either
// side.
func TestSlowAnswerToSlowReaderArrives(t *testing.T) {
	t.Parallel()
	const size, pieces = 20 << 20, 20
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, slowConfig(&l))
	c := l.dial(t, "bob.test:9092")
	c.send(1, of(17, kmsg.NewPtrFetchRequest()))
	s := b.take()
	s.request(kmsg.Fetch, 1)
	want := answerFrame(1, fetchAnswer(17, make([]byte, size)))
	sent := make(chan error, 1)
	go func() { sent <- s.trickle(want, len(want)/pieces, 60*time.Millisecond) }()

	tick := time.NewTicker(75 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for rest := want; len(rest) > 0; {
		<-tick.C
		n := min(len(rest), size/pieces)
		c.wants("a piece of the answer", rest[:n])
		rest = rest[n:]
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < beginWithin {
		t.Errorf("the transfer took %v, which proves nothing", took)
	}
	finish(t, &l, c, s)
}

// A whole day goes by while one response arrives.
func TestAnswerMayTakeADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.ParkAfter = time.Hour // fewer sweeps
		l.start(t, conf)
		c := l.dial(t, "bob.test:9092")
		c.send(1, of(4, kmsg.NewPtrFetchRequest()))
		s := b.take()
		s.request(kmsg.Fetch, 1)
		answer := answerFrame(1, fetchAnswer(4, make([]byte, 24*60)))
		go func() { _ = s.trickle(answer, 1, time.Minute) }()
		<-time.After(wire.ResponsePrefixLen * time.Minute)
		c.wants("the size and the correlation id", answer[:wire.ResponsePrefixLen])
		for _, next := range answer[wire.ResponsePrefixLen:] {
			<-time.After(time.Minute)
			c.wants("the next byte", []byte{next})
		}
		e := finish(t, &l, c, s)
		if e.Duration < 24*time.Hour {
			t.Errorf("the session lasted %v", e.Duration)
		}
	})
}

func TestSlowRequestArrives(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, slowConfig(&l))
	c := l.dial(t, "bob.test:9092")
	frame := requestFrame(1, produceRequest(9, -1, "", bytes.Repeat([]byte("record"), 50_000)))
	sent := make(chan error, 1)
	go func() {
		if err := c.tryWrite(frame[:100]); err != nil {
			sent <- err
			return
		}
		sent <- c.trickle(frame[100:], len(frame)/20, 70*time.Millisecond)
	}()
	s := b.take()
	if got := s.request(kmsg.Produce, 1).frame; !bytes.Equal(got, frame) {
		t.Error("the request changed on its way")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	s.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	c.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	finish(t, &l, c, s)
}

// finish ends a session that is well, from the client's side.
func finish(t *testing.T, l *lab, c client, s brokerConn) proxy.SessionEnd {
	t.Helper()
	c.close()
	s.eof()
	s.close()
	return l.ended(t, proxy.ClientClosed)
}

// endedByProxy sees a session off that the proxy ends in an orderly way: the broker's side
// first, then the client's.
func endedByProxy(c client, s brokerConn) {
	c.t.Helper()
	s.eof()
	s.close()
	c.eof()
	c.close()
}
