package proxy

import (
	"testing"
	"time"
)

// The sweep's looks at a client for which kproxy reaches a broker.
func TestReachingLook(t *testing.T) {
	here, ended, closed := transport{}, transport{ended: true}, transport{closed: true}
	type look struct {
		after time.Duration // since the first one
		what  transport
		want  CloseReason // "": it goes on
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"it is there", []look{{0, here, ""}, {time.Hour, here, ""}}},
		{"reset", []look{{0, here, ""}, {time.Second, closed, ClientReset}}},
		{"its side has ended", []look{{0, here, ""}, {time.Second, ended, ""}, {5 * time.Second, ended, ""}, {6 * time.Second, ended, ClientClosed}}},
		{"its side has ended, then reset", []look{{0, ended, ""}, {time.Second, closed, ClientReset}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r reaching
			start := time.Now()
			for _, l := range c.looks {
				var got CloseReason
				if why := r.look(start.Add(l.after), l.what); why != nil {
					got = why.reason
				}
				if got != l.want {
					t.Errorf("after %v: got %q, want %q", l.after, got, l.want)
				}
			}
		})
	}
}
