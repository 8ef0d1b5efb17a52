package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort means that the bytes end before the field does. On a frame that is still
// arriving it asks for more of them; on a whole frame it means that the frame's lengths
// are wrong.
var ErrShort = errors.New("frame ends inside a field")

// ErrMalformed means that no further bytes could make the field valid.
var ErrMalformed = errors.New("malformed field")

// The most elements of an array and the most tags of a section that are read.
// Kafka 4.4's own readers refuse more.
const (
	MaxElements = 1_000_000
	MaxTags     = 10_000
)

// ErrTooManyElements and ErrTooManyTags wrap ErrMalformed.
var (
	ErrTooManyElements = fmt.Errorf("%w: an array of more than %d elements", ErrMalformed, MaxElements)
	ErrTooManyTags     = fmt.Errorf("%w: a section of more than %d tags", ErrMalformed, MaxTags)
)

// Reader takes the protocol's primitives from the front of a byte slice. The first
// failure sticks: every later call returns a zero value, so that a caller reads a whole
// structure and asks Err once. Its results point into the slice and are valid as long as
// that.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader returns a Reader at the start of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err returns the first failure: ErrShort, ErrMalformed, or nil.
func (r *Reader) Err() error { return r.err }

// Offset returns how many bytes have been taken.
func (r *Reader) Offset() int { return r.off }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) - r.off }

// Take takes n bytes. A negative n is malformed.
func (r *Reader) Take(n int) []byte {
	switch {
	case r.err != nil:
		return nil
	case n < 0:
		r.err = ErrMalformed
		return nil
	case n > r.Len():
		r.err = ErrShort
		return nil
	}
	b := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Int8 takes an INT8.
func (r *Reader) Int8() int8 {
	if b := r.Take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Int16 takes an INT16.
func (r *Reader) Int16() int16 {
	if b := r.Take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// Int32 takes an INT32.
func (r *Reader) Int32() int32 {
	if b := r.Take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 takes an INT64.
func (r *Reader) Int64() int64 {
	if b := r.Take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Uvarint takes an UNSIGNED_VARINT of at most 32 bits. A number written with
// more bytes than it needs is accepted, as every client and broker accepts it.
func (r *Reader) Uvarint() uint32 {
	if r.err != nil {
		return 0
	}
	v, n, err := Uvarint(r.b[r.off:])
	if err != nil {
		r.err = err
		return 0
	}
	r.off += n
	return v
}

// String takes a NULLABLE_STRING, compact or with an INT16 length; null is nil.
func (r *Reader) String(compact bool) []byte {
	var n int
	if compact {
		n = int(r.Uvarint()) - 1
	} else {
		n = int(r.Int16())
	}
	if n < 0 {
		if n < -1 {
			r.Fail(ErrMalformed)
		}
		return nil
	}
	return r.Take(n)
}

// Bytes takes a NULLABLE_BYTES, compact or with an INT32 length; null is nil.
func (r *Reader) Bytes(compact bool) []byte {
	n := r.length(compact)
	if n < 0 {
		return nil
	}
	return r.Take(n)
}

// ArrayLen takes the length of an ARRAY, compact or not; null is -1. More than
// MaxElements is ErrTooManyElements. Every element has at least one byte, but
// those may still be arriving: a caller must not allocate by this number.
func (r *Reader) ArrayLen(compact bool) int {
	n := r.length(compact)
	if n > MaxElements {
		r.Fail(ErrTooManyElements)
		return -1
	}
	return n
}

// length takes the length of an ARRAY or of BYTES, which are written alike.
func (r *Reader) length(compact bool) int {
	var n int
	if compact {
		n = int(r.Uvarint()) - 1
	} else {
		n = int(r.Int32())
	}
	if n < -1 {
		r.Fail(ErrMalformed)
	}
	if r.err != nil {
		return -1
	}
	return n
}

// TagCount takes the number of tags at the start of a tag section (KIP-482).
// More than MaxTags is ErrTooManyTags.
func (r *Reader) TagCount() int {
	n := r.Uvarint()
	if n > MaxTags {
		r.Fail(ErrTooManyTags)
		return 0
	}
	return int(n)
}

// SkipTags takes a tag section without looking at the tags.
func (r *Reader) SkipTags() {
	for n := r.TagCount(); n > 0 && r.err == nil; n-- {
		r.Uvarint()
		r.Take(int(r.Uvarint()))
	}
}

// Fail makes err the failure, unless there is one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// maxUvarintLen is how many bytes 32 bits take, seven at a time.
const maxUvarintLen = 5

// Uvarint reads an UNSIGNED_VARINT of at most 32 bits from the start of b and
// returns it with its length. The error is ErrShort or ErrMalformed.
func Uvarint(b []byte) (v uint32, n int, err error) {
	for i := range min(len(b), maxUvarintLen) {
		c := b[i]
		if i == maxUvarintLen-1 && c > 0x0f {
			return 0, 0, ErrMalformed
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1, nil
		}
	}
	return 0, 0, ErrShort
}

// UvarintLen returns how many bytes the shortest form of v takes.
func UvarintLen(v uint32) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
