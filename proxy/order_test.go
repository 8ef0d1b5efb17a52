package proxy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestWhoEndsFirst(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for _, c := range []struct {
		name string
		all  []holder
		want []int64 // held, in order
	}{
		{"none", nil, nil},
		{"one source", []holder{{held: 5, source: a}, {held: 9, source: a}, {held: 7, source: a}}, []int64{9, 7, 5}},
		{"the source that holds most", []holder{{held: 9, source: a}, {held: 5, source: b}, {held: 6, source: b}}, []int64{6, 5, 9}},
		{"early ones above their share", []holder{{held: 900, source: a}, {held: 11, source: b, early: true}}, []int64{11, 900}},
		{"early ones within their share", []holder{{held: 900, source: a}, {held: 10, source: b, early: true}}, []int64{900, 10}},
		{
			"sums are of one class",
			[]holder{{held: 900, source: a}, {held: 7, source: a, early: true}, {held: 8, source: b, early: true}},
			[]int64{8, 7, 900},
		},
	} {
		inOrder(c.all, 10)
		var got []int64
		for _, h := range c.all {
			got = append(got, h.held)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
