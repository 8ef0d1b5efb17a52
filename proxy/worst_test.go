package proxy

import (
	"net/netip"
	"testing"
)

func TestWhoEndsFirst(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for _, c := range []struct {
		name string
		all  []*holder
		want int // index; -1: none
	}{
		{"none", nil, -1},
		{"none holds anything", []*holder{{source: a}}, -1},
		{"the largest of one source", []*holder{{held: 5, source: a}, {held: 9, source: a}, {held: 7, source: a}}, 1},
		{"the largest of the largest source", []*holder{{held: 9, source: a}, {held: 5, source: b}, {held: 6, source: b}}, 2},
		{"who has not logged in", []*holder{{held: 900, source: a}, {held: 1, source: b, early: true}}, 1},
		{"sums are of one class", []*holder{{held: 900, source: a}, {held: 2, source: a, early: true}, {held: 3, source: b, early: true}}, 2},
		{"one that has ended counts no more", []*holder{{held: 0, source: a, early: true}, {held: 1, source: b}}, 1},
	} {
		got := -1
		for i, h := range c.all {
			if h == worst(c.all) {
				got = i
			}
		}
		if got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
