package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"kproxy/internal/wire"
)

// checkUvarint compares Uvarint with encoding/binary, which reads 64 bits, and so every
// form of 32 bits.
func checkUvarint(t *testing.T, b []byte) {
	t.Helper()
	const maxLen = 5
	v, n, err := wire.Uvarint(b)
	want, wantLen := binary.Uvarint(b)
	switch {
	case wantLen > 0 && wantLen <= maxLen && want <= math.MaxUint32:
		if err != nil || uint64(v) != want || n != wantLen {
			t.Errorf("% x: got %d in %d bytes, %v, want %d in %d", b, v, n, err, want, wantLen)
		}
	case len(b) < maxLen:
		if !errors.Is(err, wire.ErrShort) {
			t.Errorf("% x: got %d, %v, want ErrShort", b, v, err)
		}
	default:
		if !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("% x: got %d, %v, want ErrMalformed", b, v, err)
		}
	}
}

func TestUvarint(t *testing.T) {
	for shift := range 32 {
		for _, v := range []uint32{1<<shift - 1, 1 << shift, 1<<shift + 1, math.MaxUint32 >> shift} {
			b := binary.AppendUvarint(nil, uint64(v))
			checkUvarint(t, b)
			if got, want := wire.UvarintLen(v), len(b); got != want {
				t.Errorf("UvarintLen(%d): got %d, want %d", v, got, want)
			}
			for wide := b; len(wide) < 7; {
				wide = append(bytes.Clone(wide), 0) // one byte more than before says the same
				wide[len(wide)-2] |= 0x80
				checkUvarint(t, wide)
				checkUvarint(t, wide[:len(wide)-1])
				checkUvarint(t, append(wide, "behind"...))
			}
		}
	}
	for _, fifth := range []byte{0x00, 0x0f, 0x10, 0x1f, 0x7f, 0x80, 0x8f, 0xff} {
		checkUvarint(t, []byte{0xff, 0xff, 0xff, 0xff, fifth})
		checkUvarint(t, []byte{0x80, 0x80, 0x80, 0x80, fifth, 0})
	}
	checkUvarint(t, nil)
	checkUvarint(t, bytes.Repeat([]byte{0x80}, 11))
}

func TestReaderTakes(t *testing.T) {
	r := wire.NewReader([]byte("\xff\xfe\xff\xfe\xfd\xfc\xfb\x85\x00\x00\x02ab\x00\x00\xff\xff\x03cd\x00\x01\x01\x00\x01z"))
	check(t, "int8", r.Int8(), -1)
	check(t, "int16", r.Int16(), -257)
	check(t, "int32", r.Int32(), -16909061)
	check(t, "uvarint of two bytes", r.Uvarint(), 5)
	check(t, "string", string(r.String(false)), "ab")
	if s := r.String(false); s == nil || len(s) != 0 {
		t.Errorf("empty string: got %q, null: %t", s, s == nil)
	}
	if s := r.String(false); s != nil {
		t.Errorf("null string: got %q", s)
	}
	check(t, "compact string", string(r.String(true)), "cd")
	if s := r.String(true); s != nil {
		t.Errorf("null compact string: got %q", s)
	}
	if s := r.String(true); s == nil || len(s) != 0 {
		t.Errorf("empty compact string: got %q, null: %t", s, s == nil)
	}
	r.SkipTags()
	check(t, "left behind the tags", r.Len(), 0)
	check(t, "error", r.Err(), nil)
}

func TestReaderTagCount(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		want        int
		err         error
	}{
		{"none", "\x00", 0, nil},
		{"ten thousand", "\x90\x4e", wire.MaxTags, nil},
		{"one more", "\x91\x4e", 0, wire.ErrTooManyTags},
		{"four billion", "\xff\xff\xff\xff\x0f", 0, wire.ErrTooManyTags},
		{"short", "\x90", 0, wire.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := wire.NewReader([]byte(c.bytes))
			if got := r.TagCount(); got != c.want || !errors.Is(r.Err(), c.err) {
				t.Errorf("got %d, %v, want %d, %v", got, r.Err(), c.want, c.err)
			}
		})
	}
}

func TestReaderArrayLen(t *testing.T) {
	for _, c := range []struct {
		name    string
		bytes   string
		compact bool
		want    int
		err     error
	}{
		{"null", "\xff\xff\xff\xff", false, -1, nil},
		{"empty", "\x00\x00\x00\x00", false, 0, nil},
		{"three", "\x00\x00\x00\x03", false, 3, nil},
		{"a million", "\x00\x0f\x42\x40", false, wire.MaxElements, nil},
		{"a million and one", "\x00\x0f\x42\x41", false, -1, wire.ErrTooManyElements},
		{"two billion", "\x7f\xff\xff\xff", false, -1, wire.ErrTooManyElements},
		{"-2", "\xff\xff\xff\xfe", false, -1, wire.ErrMalformed},
		{"short", "\x00\x00\x00", false, -1, wire.ErrShort},
		{"compact null", "\x00", true, -1, nil},
		{"compact empty", "\x01", true, 0, nil},
		{"compact three", "\x04", true, 3, nil},
		{"compact a million", "\xc1\x84\x3d", true, wire.MaxElements, nil},
		{"compact a million and one", "\xc2\x84\x3d", true, -1, wire.ErrTooManyElements},
		{"compact two billion", "\x80\x80\x80\x80\x08", true, -1, wire.ErrTooManyElements},
		{"compact short", "\x80", true, -1, wire.ErrShort},
		{"compact beyond 32 bits", "\x80\x80\x80\x80\x10", true, -1, wire.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := wire.NewReader([]byte(c.bytes))
			if got := r.ArrayLen(c.compact); got != c.want || !errors.Is(r.Err(), c.err) {
				t.Errorf("got %d, %v, want %d, %v", got, r.Err(), c.want, c.err)
			}
		})
	}
}

// The first failure sticks, and every later result is zero.
func TestReaderFailsOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(*wire.Reader)
		want error
	}{
		{"short", func(r *wire.Reader) { r.Take(100) }, wire.ErrShort},
		{"negative", func(r *wire.Reader) { r.Take(-1) }, wire.ErrMalformed},
		{"most negative", func(r *wire.Reader) { r.Take(math.MinInt) }, wire.ErrMalformed},
		{"more than there can be", func(r *wire.Reader) { r.Take(math.MaxInt) }, wire.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := wire.NewReader([]byte("\x01\x02\x03\x04\x05\x06\x07\x08"))
			r.Take(2)
			c.fail(&r)
			check(t, "int8", r.Int8(), 0)
			check(t, "int16", r.Int16(), 0)
			check(t, "int32", r.Int32(), 0)
			check(t, "uvarint", r.Uvarint(), 0)
			check(t, "array length", r.ArrayLen(true), -1)
			check(t, "array length", r.ArrayLen(false), -1)
			check(t, "string", string(r.String(true)), "")
			check(t, "string", string(r.String(false)), "")
			check(t, "bytes", string(r.Take(0)), "")
			r.SkipTags()
			r.Take(-1)
			r.Take(1000)
			check(t, "error", r.Err(), c.want)
			check(t, "offset", r.Offset(), 2)
			check(t, "left", r.Len(), 6)
		})
	}
}

// Appending to the result of Take does not overwrite the bytes behind it.
func TestReaderTakeIsCapped(t *testing.T) {
	b := []byte("abcd")
	r := wire.NewReader(b)
	_ = append(r.Take(2), "xx"...)
	check(t, "the bytes behind", string(b), "abcd")
}

func TestReaderAllocatesNothing(t *testing.T) {
	b := []byte("\x00\x01\x00\x00\x00\x02\x03ab\x02\x01\x01z\x02\x00")
	if got := testing.AllocsPerRun(100, func() {
		r := wire.NewReader(b)
		r.Int16()
		r.ArrayLen(false)
		r.String(true)
		r.SkipTags()
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
