package proxy_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A Produce request with acks=0 is never answered, and so the next response is the
// next request's.
func TestAcks0IsNotAnswered(t *testing.T) {
	t.Parallel()
	const requests = 1000
	for _, version := range []int16{2, 3, 8, 9, 13} {
		for _, id := range []string{"", "transaction"} {
			if version < 3 && id != "" {
				continue // transactional ids came with v3
			}
			t.Run(fmt.Sprintf("v%d %q", version, id), func(t *testing.T) {
				t.Parallel()
				var l lab
				b := l.startBroker(t, 0, 0)
				l.start(t, l.config())
				c := l.dial(t, "bob.test:9092")
				produce := produceRequest(version, 0, id, []byte("records"))
				sent := requestFrames(0, append(repeated(requests, produce), metadataRequest(12))...)
				go func() { _ = c.tryWrite(sent) }()
				s := b.take()
				s.wants("all requests", sent)
				s.answer(requests, metadataAnswer(12, 0))
				resp := answerTo(12, kmsg.NewPtrMetadataResponse())
				c.receive(requests, resp)
				if got := told(resp)[0]; got != "bob.test:9100" {
					t.Errorf("the client gets %s", got)
				}
				finish(t, &l, c, s)
			})
		}
	}
}

func TestAcksMixedInPipeline(t *testing.T) {
	t.Parallel()
	const requests = 999
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	acks := []int16{0, 1, -1}
	var sent, answers []byte
	var owed []int32
	for id := range int32(requests) {
		a := acks[id%3]
		sent = append(sent, requestFrame(id, produceRequest(9, a, "transaction", []byte("records")))...)
		if a != 0 {
			answers = append(answers, answerFrame(id, answerTo(9, kmsg.NewPtrProduceResponse()))...)
			owed = append(owed, id)
		}
	}
	go func() { _ = c.tryWrite(sent) }()
	s := b.take()
	s.wants("all requests", sent)
	s.write(answers)
	for _, id := range owed {
		c.receive(id, answerTo(9, kmsg.NewPtrProduceResponse()))
	}
	finish(t, &l, c, s)
}

// A broker that cannot take a request with acks=0 closes the connection; that is
// the only response the client gets.
func TestBrokerCloseAfterAcks0ReachesClient(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, produceRequest(9, 0, "", []byte("records")))
	s.request(kmsg.Produce, 1)
	promptly(t, func() {
		s.close()
		c.eof()
	})
	c.close()
	e := l.ended(t, proxy.BrokerClosed)
	if e.Err != nil {
		t.Errorf("the session ended with %v, although nothing was owed", e.Err)
	}
}

// Requests without a response are delivered even if the client leaves at once.
func TestAcks0ThenClose(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	frame := requestFrame(1, produceRequest(9, 0, "", bytes.Repeat([]byte("record"), 100_000)))
	go func() {
		_ = c.tryWrite(frame)
		c.close()
	}()
	s := b.take()
	if got := s.request(kmsg.Produce, 1).frame; !bytes.Equal(got, frame) {
		t.Error("the request changed on its way")
	}
	s.eof()
	s.close()
	l.ended(t, proxy.ClientClosed)
}
