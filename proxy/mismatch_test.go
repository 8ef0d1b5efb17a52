package proxy_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
)

// A response that does not match the oldest request in flight may be another client's.
// Complete responses before it are delivered, and nothing after them.
func TestAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	answer := answerFrame(2, heartbeatAnswer())
	resized := func(size int32) []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(size))
	}
	tests := []struct {
		name string
		bad  []byte
		want proxy.CloseReason
		says string
	}{
		{"another correlation id", answerFrame(3, heartbeatAnswer()), proxy.UnexpectedAnswer, "correlation id 3 where 2 is next"},
		{"the last one again", answerFrame(1, heartbeatAnswer()), proxy.UnexpectedAnswer, "correlation id 1 where 2 is next"},
		{"size 3", append(resized(3), answer[4:]...), proxy.BadAnswer, "3 bytes"},
		{"size 0", append(resized(0), answer[4:]...), proxy.BadAnswer, "0 bytes"},
		{"size -1", append(resized(-1), answer[4:]...), proxy.BadAnswer, "-1 bytes"},
		{"the most negative size", append(resized(-1<<31), answer[4:]...), proxy.BadAnswer, "bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.open(t)
			c.write(requestFrames(1, repeated(2, heartbeat())...))
			s.request(kmsg.Heartbeat, 1)
			s.request(kmsg.Heartbeat, 2)
			good := answerFrame(1, heartbeatAnswer())
			promptly(t, func() {
				s.write(append(good, tt.bad...))
				c.wants("the whole answer in front", good)
				c.eof()
				_, _ = s.ended()
			})
			c.close()
			e := l.ended(t, tt.want)
			if e.Err == nil || !strings.Contains(e.Err.Error(), tt.says) {
				t.Errorf("the session ended with %v, want %s", e.Err, tt.says)
			}
			l.log.has(t, "level=WARN", "reason="+string(tt.want))
		})
	}
}

func TestAnswerToNothing(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	promptly(t, func() {
		s.answer(1, heartbeatAnswer())
		c.eof()
		_, _ = s.ended()
	})
	c.close()
	l.ended(t, proxy.UnexpectedAnswer)
}

// A client that has ended its side does not get a response without a request either.
func TestAnswerToNothingAfterHalfClose(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.closeWrite()
	s.eof()
	s.answer(1, heartbeatAnswer())
	c.eof()
	l.ended(t, proxy.ClientClosed)
}

// Correlation ids count for nothing but equality: they may repeat, and jump.
func TestCorrelationIDsAreTheClients(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	for _, id := range []int32{7, 7, -1, 1<<31 - 1, 0, -1 << 31} {
		c.send(id, heartbeat())
		s.request(kmsg.Heartbeat, id)
		s.answer(id, heartbeatAnswer())
		c.receive(id, heartbeatAnswer())
	}
	finish(t, &l, c, s)
}

// A response may be as short as its header.
func TestShortestAnswer(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.write(requestFrames(1, repeated(2, heartbeat())...))
	s.request(kmsg.Heartbeat, 1)
	s.request(kmsg.Heartbeat, 2)
	shortest := wire.AppendResponsePrefix(wire.AppendResponsePrefix(nil, 1, 0), 2, 0)
	s.write(shortest)
	c.wants("both answers", shortest)
	finish(t, &l, c, s)
}
