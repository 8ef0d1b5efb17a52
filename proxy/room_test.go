package proxy

import "testing"

// A session that waits for room is woken by bytes that are given back, and not by a refusal: its
// own would wake it at once, and it would ask again without a pause.
func TestARefusalWakesNoWaiter(t *testing.T) {
	b := budget{freed: make(chan struct{}, 1)}
	b.waiting.Store(true)
	if !b.room(10, 10) || b.room(10, 1) {
		t.Fatalf("%d bytes are used, want 10 of 10", b.used.Load())
	}
	if len(b.freed) > 0 {
		t.Error("a refusal counts as bytes that were given back")
	}
	if b.give(4); len(b.freed) == 0 {
		t.Error("the waiter is not woken")
	}
	if !b.room(0, 100) {
		t.Error("a budget without a limit refuses bytes")
	}
	if got, want := b.used.Load(), int64(106); got != want {
		t.Errorf("%d bytes are used, want %d", got, want)
	}
}
