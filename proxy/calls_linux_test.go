package proxy

import "testing"

// A spell ends where somebody waits, and where it has lasted.
func TestSpell(t *testing.T) {
	var s spell
	for range maxSpell - 1 {
		s.took(false)
	}
	if s != maxSpell-1 {
		t.Fatalf("%d calls are counted, want %d", s, maxSpell-1)
	}
	if s.took(false); s != 0 {
		t.Errorf("behind the last one %d are counted, want 0", s)
	}
	s.took(false)
	if s.took(true); s != 0 {
		t.Errorf("behind one that waits %d are counted, want 0", s)
	}
}
