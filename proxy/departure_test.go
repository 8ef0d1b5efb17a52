package proxy

import (
	"testing"
	"time"

	"kproxy/internal/inflight"
)

// A state counts from the first look at it since when nothing has moved.
func TestDeparture(t *testing.T) {
	type look struct {
		after time.Duration // since the first one
		state presence
		moved int64
		want  time.Duration
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"left", []look{{0, present, 7, 0}, {time.Hour, left, 7, 0}, {time.Hour + time.Minute, left, 7, time.Minute}}},
		{"bytes still move", []look{{0, left, 1, 0}, {time.Minute, left, 2, 0}, {2 * time.Minute, left, 2, time.Minute}}},
		{"it waits, and then leaves", []look{{0, waits, 1, 0}, {time.Minute, waits, 1, time.Minute}, {2 * time.Minute, left, 1, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d departure
			start := time.Now()
			for _, l := range c.looks {
				if got := d.look(start.Add(l.after), l.state, l.moved); got != l.want {
					t.Errorf("after %v: got %v, want %v", l.after, got, l.want)
				}
			}
		})
	}
}

func TestPresence(t *testing.T) {
	open, ended, closed := transport{}, transport{ended: true}, transport{closed: true}
	for _, c := range []struct {
		name      string
		in        transport
		finishing bool
		owed      bool
		want      presence
	}{
		{"it is there", open, false, true, present},
		{"its side has ended, nothing is owed", ended, false, false, present},
		{"its side has ended, and kproxy does not read it", ended, false, true, waits},
		{"the session ends when its responses are delivered", open, true, true, waits},
		{"its socket is closed", closed, false, false, left},
		{"its socket is closed at the end of the session", closed, true, true, left},
	} {
		var s session
		s.queue.Init()
		if c.finishing {
			s.life.finishing.Store(end(ClientClosed, nil))
		}
		if c.owed {
			s.queue.Push(inflight.Request{})
		}
		if got := s.presence(c.in); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
