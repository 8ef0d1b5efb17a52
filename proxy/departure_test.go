package proxy

import (
	"testing"
	"time"
)

func TestDeparture(t *testing.T) {
	open, closed := transport{}, transport{closed: true}
	type look struct {
		after time.Duration // since the first one
		what  transport
		moved int64
		gone  bool
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"never", []look{{0, open, 0, false}, {time.Hour, open, 0, false}}},
		{"gone", []look{{0, open, 7, false}, {time.Hour, closed, 7, false}, {time.Hour + 119*time.Second, closed, 7, false}, {time.Hour + 2*time.Minute, closed, 7, true}}},
		{"bytes still move", []look{{0, closed, 1, false}, {time.Minute, closed, 2, false}, {2 * time.Minute, closed, 2, false}, {3 * time.Minute, closed, 2, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d departure
			start := time.Now()
			for _, l := range c.looks {
				if got := d.look(start.Add(l.after), l.what, l.moved, 2*time.Minute); got != l.gone {
					t.Errorf("after %v: gone %t, want %t", l.after, got, l.gone)
				}
			}
		})
	}
}
