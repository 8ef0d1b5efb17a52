package proxy_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A client that leaves while its broker is dialled ends its session, and the dial. That the dial
// ended says nothing about the broker: a node that one response has at another address stays
// where it is.
func TestClientThatLeavesDuringADial(t *testing.T) {
	t.Parallel()
	var l lab
	first := l.startBroker(t, 0, 0, 1)
	conf := l.config()
	h := l.dig(conf, brokerName(1), brokerName(7))
	l.start(t, conf)
	l.learned(t, 0, 1)
	c, s := l.session(t, first)
	c.send(1, metadataRequest(12))
	s.request(kmsg.Metadata, 1)
	answer := metadataAnswer(12, 0, 1)
	answer.Brokers[1].Host, answer.Brokers[1].Port = brokerAddress(7)
	s.answer(1, answer)
	c.receive(1, answerTo(12, kmsg.NewPtrMetadataResponse()))
	finish(t, &l, c, s)

	c = l.dial(t, "bob.test:9101")
	c.send(1, heartbeat())
	h.wait(t, brokerName(1))
	c.reset()
	promptly(t, func() {
		e := l.ended(t, proxy.ClientReset)
		if e.Err == nil || !strings.Contains(e.Err.Error(), "before a broker was reached") {
			t.Errorf("the session ended with %v", e.Err)
		}
		if err := <-h.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the dial ended with %v", err)
		}
	})
	if l.log.count("broker has another address") > 0 {
		t.Error("the node has moved")
	}
}
