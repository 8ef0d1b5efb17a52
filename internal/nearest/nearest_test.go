package nearest_test

import (
	"strings"
	"testing"
	"time"

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
		{"nodes" + strings.Repeat("x", 200), "nodes", 200},
	} {
		if got, apart := nearest.Of(tt.name, known); got != tt.want || apart != tt.apart {
			t.Errorf("%q: got %q, %d apart; want %q, %d", tt.name, got, apart, tt.want, tt.apart)
		}
	}
}

// A name of any length is compared in bounded time.
func TestOfLongName(t *testing.T) {
	known := make([]string, 100)
	for i := range known {
		known[i] = strings.Repeat("k", 30)
	}
	name := strings.Repeat("x", 4<<20)
	began := time.Now()
	if _, apart := nearest.Of(name, known); apart != len(name) {
		t.Errorf("%d apart, want %d", apart, len(name))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}
