package proxy_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A client may send any number of requests before it reads a response. When the proxy's queue
// is full, it does not read from the client until responses have been delivered.
func TestPipeliningIsHeldBackNotCut(t *testing.T) {
	t.Parallel()
	const requests, inFlight = 5000, 1024
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	sent := make(chan error, 1)
	go func() { sent <- c.tryWrite(requestFrames(0, repeated(requests, heartbeat())...)) }()

	s := b.take()
	for done := 0; done < requests; {
		batch := min(inFlight, requests-done)
		var answers []byte
		for i := range batch {
			id := int32(done + i)
			s.request(kmsg.Heartbeat, id)
			answers = append(answers, answerFrame(id, heartbeatAnswer())...)
		}
		if done == 0 {
			s.silent() // the others wait in front of the proxy
		}
		s.write(answers)
		for i := range batch {
			c.receive(int32(done+i), heartbeatAnswer())
		}
		done += batch
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.close()
	s.eof()
	s.close()
	l.ended(t, proxy.ClientClosed)
}

// A broker that says nothing for minutes, as during a long poll or while a group
// rebalances, is waited for.
func TestSilentBrokerIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const requests = 256
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		c := l.dial(t, "bob.test:9092")
		go func() { _ = c.tryWrite(requestFrames(0, repeated(requests, heartbeat())...)) }()
		s := b.take()
		for id := range int32(requests) {
			s.request(kmsg.Heartbeat, id)
		}
		<-time.After(10 * time.Minute)
		go func() {
			for id := range int32(requests) {
				_ = s.tryWrite(answerFrame(id, heartbeatAnswer()))
			}
		}()
		for id := range int32(requests) {
			c.receive(id, heartbeatAnswer())
		}
		c.close()
		s.eof()
		s.close()
		e := l.ended(t, proxy.ClientClosed)
		if e.Duration < 10*time.Minute {
			t.Errorf("the session lasted %v", e.Duration)
		}
	})
}
