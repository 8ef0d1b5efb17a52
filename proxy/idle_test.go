package proxy

import (
	"testing"

	"kproxy/internal/inflight"
)

// The sweep asks whether a session is idle when nothing is owed. A request that is
// queued before the answer, and has not moved a byte yet, makes it busy.
func TestARequestThatIsOwedIsNotIdle(t *testing.T) {
	for _, tt := range []struct {
		name  string
		owed  bool
		moves bool
		want  bool
	}{
		{"silent", false, false, true},
		{"a request is owed", true, false, false},
		{"bytes have moved", false, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &session{proxy: &Proxy{}}
			s.queue.Init()
			s.idleAt.Store(s.moved() + 1)
			if tt.owed {
				if full, _ := s.queue.Push(inflight.Request{}); full {
					t.Fatal("the queue is full")
				}
			}
			if tt.moves {
				s.up.Copied.Add(1)
			}
			if got := s.isIdle(); got != tt.want {
				t.Errorf("idle: got %t, want %t", got, tt.want)
			}
			if s.isIdle() {
				t.Error("it answers although it was not asked again")
			}
		})
	}
}
