package relay

import "testing"

// A streak ends at a wait, and at its maximum.
func TestSpell(t *testing.T) {
	var s streak
	for range maxStreak - 1 {
		s.count(false)
	}
	if s != maxStreak-1 {
		t.Fatalf("%d calls are counted, want %d", s, maxStreak-1)
	}
	if s.count(false); s != 0 {
		t.Errorf("behind the last one %d are counted, want 0", s)
	}
	s.count(false)
	if s.count(true); s != 0 {
		t.Errorf("behind one that waits %d are counted, want 0", s)
	}
}
