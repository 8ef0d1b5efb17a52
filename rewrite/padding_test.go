package rewrite

import (
	"bytes"
	"slices"
	"testing"

	"kproxy/internal/wire"
)

// Every length can be filled, except those that a tag with a longer number leaves.
func TestPaddingFillsEveryLength(t *testing.T) {
	for _, c := range []struct {
		name   string
		others []tag
		not    []int // lengths that cannot be filled
	}{
		{"no tags", nil, nil},
		{"a vendor's tag", []tag{{10000, []byte("v")}}, nil},
		{"both numbers of a byte taken", []tag{{126, nil}, {127, nil}}, []int{2}},
	} {
		for _, mandatory := range []bool{false, true} {
			bare := tail{mandatory: mandatory, others: c.others}
			b := bare.append(nil, padding{})
			for n := range 40001 {
				if c.others != nil && n > 300 && n < 16300 || n > 17000 && n%10 != 0 {
					continue
				}
				out, fits := bare.appendFixed(len(b) + n)
				if want := !slices.Contains(c.not, n); fits != want {
					t.Fatalf("%s, %d bytes: filled %t, want %t", c.name, n, fits, want)
				}
				if fits && len(out) != len(b)+n {
					t.Fatalf("%s, %d bytes: filled %d", c.name, n, len(out)-len(b))
				}
			}
			for n := 1; n <= len(b); n++ {
				if out, fits := bare.appendFixed(len(b) - n); fits {
					t.Fatalf("%s, %d bytes too few: got % x", c.name, n, out)
				}
			}
		}
	}
}

// Each padding that is proposed for n bytes takes n bytes, or one byte less for
// a count of tags that grows.
func TestPaddings(t *testing.T) {
	for _, number := range []uint32{126, 128, 16384, 1<<32 - 1} {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 127, 128, 129, 130, 131, 132, 133, 16383, 16384, 16385, 16386, 16387, 16388, 16389, 40000} {
			for _, p := range paddings(number, n) {
				got := len(p.append(nil))
				if p.wideCount {
					got++
				}
				if got != n && got != n-1 {
					t.Errorf("number %d, %d bytes: %+v takes %d", number, n, p, got)
				}
			}
		}
		if got := paddings(number, -5); len(got) != 0 {
			t.Errorf("-5 bytes: got %+v, want none", got)
		}
	}
}

func TestAppendUvarintWide(t *testing.T) {
	for _, c := range []struct {
		v    uint32
		wide bool
		want string
	}{
		{0, false, "\x00"},
		{0, true, "\x80\x00"},
		{1, false, "\x01"},
		{1, true, "\x81\x00"},
		{127, false, "\x7f"},
		{127, true, "\xff\x00"},
		{128, false, "\x80\x01"},
		{128, true, "\x80\x81\x00"},
		{16383, true, "\xff\xff\x00"},
		{16384, true, "\x80\x80\x81\x00"},
	} {
		got := appendUvarintWide(nil, c.v, c.wide)
		if !bytes.Equal(got, []byte(c.want)) {
			t.Errorf("%d, wide %t: got % x, want % x", c.v, c.wide, got, c.want)
		}
		if v, n, err := wire.Uvarint(got); v != c.v || n != len(got) || err != nil {
			t.Errorf("% x: read as %d in %d bytes, %v", got, v, n, err)
		}
	}
}
