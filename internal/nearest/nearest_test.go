package nearest_test

import (
	"testing"

	"kproxy/internal/nearest"
)

func TestOf(t *testing.T) {
	known := []string{"bind", "advertise", "nodes"}
	for _, tt := range []struct {
		name, want string
		apart      int
	}{
		{"advertize", "advertise", 1},
		{"BIND", "bind", 0},
		{"node", "nodes", 1},
		{"nodse", "nodes", 2},
		{"", "bind", 4},
	} {
		if got, apart := nearest.Of(tt.name, known); got != tt.want || apart != tt.apart {
			t.Errorf("%q: got %q, %d apart; want %q, %d", tt.name, got, apart, tt.want, tt.apart)
		}
	}
}
