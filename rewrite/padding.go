package rewrite

import (
	"encoding/binary"

	"kproxy/internal/wire"
)

// firstPadTag is the number of the tag that fills the rest, unless the
// broker has used it: Kafka's own numbers are small, vendors' are in the
// thousands, and this is the highest but one that takes a byte.
const firstPadTag = 126

// padding fills the bytes that a shorter address leaves in a place that every client
// skips: one unknown tag at the top level. (Java and librdkafka do not skip to the end of
// a tag that they know, and kafka-python refuses tags inside a broker's element, so
// neither of those places is possible.)
type padding struct {
	number    uint32 // 0: no tag
	size      int    // zero bytes in it
	wideSize  bool   // its size takes a byte more than it needs
	wideCount bool   // the count of tags takes a byte more than it needs
}

// paddings lists the ways to fill n bytes. A tag has at least a number and a size, so
// that one byte is filled by a count written with two. A size of 128 takes two bytes
// where 127 takes one, which leaves out one length: for that the smaller size is written
// with two. Every decoder accepts such numbers.
func paddings(number uint32, n int) []padding {
	if n == 1 {
		return []padding{{wideCount: true}}
	}
	var all []padding
	numberLen := wire.UvarintLen(number)
	for sizeLen := 1; sizeLen <= 3; sizeLen++ {
		// One byte less for a count of tags that this one makes longer.
		for grown := range 2 {
			size := n - numberLen - sizeLen - grown
			if size < 0 {
				continue
			}
			switch sizeLen - wire.UvarintLen(uint32(size)) {
			case 0:
				all = append(all, padding{number: number, size: size})
			case 1:
				all = append(all, padding{number: number, size: size, wideSize: true})
			}
		}
	}
	return all
}

func (p padding) tags() int {
	if p.number == 0 {
		return 0
	}
	return 1
}

func (p padding) append(dst []byte) []byte {
	if p.number == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(p.number))
	dst = appendUvarintWide(dst, uint32(p.size), p.wideSize)
	return append(dst, make([]byte, p.size)...)
}

// appendUvarintWide appends v, one byte longer than it needs to be if wide.
func appendUvarintWide(dst []byte, v uint32, wide bool) []byte {
	dst = binary.AppendUvarint(dst, uint64(v))
	if wide {
		dst[len(dst)-1] |= 0x80
		dst = append(dst, 0)
	}
	return dst
}
