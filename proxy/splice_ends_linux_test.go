package proxy_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// largeProduce is a request that is spliced.
func largeProduce() []byte { return requestFrame(1, produceRequest(9, -1, "", noise(1<<20))) }

// half has the client send half a large request, and waits until the broker has
// it. The other half is returned.
func half(t *testing.T, c client, s brokerConn) (rest []byte) {
	t.Helper()
	frame := largeProduce()
	sent := make(chan error, 1)
	go func() { sent <- c.tryWrite(frame[:len(frame)/2]) }()
	s.wants("the half that was sent", frame[:len(frame)/2])
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return frame[len(frame)/2:]
}

// otherHalf has the rest sent and the request answered.
func otherHalf(t *testing.T, c client, s brokerConn, rest []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- c.tryWrite(rest) }()
	s.wants("the other half", rest)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	s.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	c.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
}

// A request of which half has been spliced when the drain starts is asked and
// answered.
func TestShutdownFinishesHalfASplice(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	c, s := l.open(t)
	rest := half(t, c, s)
	done := l.shutdown(patience)
	l.refused(t, "bob.test:9092")
	c.silent()
	otherHalf(t, c, s, rest)
	endedByProxy(c, s)
	wantCut(t, done, 0)
	l.ended(t, proxy.Drained)
	if up, _ := l.moved(); !*copyAll && up.Spliced == 0 {
		t.Error("nothing was spliced")
	}
}

// Whatever asks the session to end meanwhile lets half a request be.
func TestLimitsOfTimeLetHalfASpliceBe(t *testing.T) {
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
			rest := half(t, c, s)
			<-time.After(2 * stall)
			otherHalf(t, c, s, rest)
			endedByProxy(c, s)
			l.ended(t, name)
		})
	}
}

// A client that ends its side behind a large request gets a large response.
func TestHalfCloseBehindASplice(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Rack = string(noise(1 << 20))
	request, answer := requestFrame(1, of(17, fetch)), answerFrame(1, fetchAnswer(17, noise(1<<20)))
	go func() {
		_ = c.tryWrite(request)
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got := s.request(kmsg.Fetch, 1).frame; !bytes.Equal(got, request) {
		t.Fatal("the request changed on its way")
	}
	s.silent() // the end is held back
	go func() { _ = s.tryWrite(answer) }()
	c.wants("the answer", answer)
	s.eof()
	s.close()
	c.eof()
	l.ended(t, proxy.ClientClosed)
}

// pipes counts the process's kernel pipes, by their ends.
func pipes(t *testing.T) (ends int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			ends++
		}
	}
	return ends
}

// Sessions that are cut in the middle of both directions' frames, with peers that
// have stopped reading, leave no pipe behind. It does not run beside others: it counts the
// descriptors of the process.
func TestShutdownCutsSplices(t *testing.T) {
	needsPlainTCP(t)
	const sessions = 5
	before := pipes(t)
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	request, answer := requestFrame(2, produceRequest(9, -1, "", noise(64<<20))), answerFrame(1, fetchAnswer(17, noise(64<<20)))
	for range sessions {
		c, s := l.session(t, b)
		c.send(1, of(17, kmsg.NewPtrFetchRequest()))
		s.request(kmsg.Fetch, 1)
		go func() { _ = s.tryWrite(answer) }()
		go func() { _ = c.tryWrite(request) }()
		c.wants("the first bytes", answer[:1<<20])
		s.wants("the first bytes", request[:1<<20])
	}
	l.still(t)
	if now := pipes(t); !*copyAll && now == before {
		t.Error("no pipe was made")
	}
	wantCut(t, l.shutdown(time.Second/10), sessions)
	for range sessions {
		l.ended(t, proxy.DrainTimeout)
	}
	if now := pipes(t); now != before {
		t.Errorf("%d ends of pipes are left of %d sessions", now-before, sessions)
	}
}
