package rewrite

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// tagNodeEndpoints is the number of the tag with leader hints (KIP-951) in
// Produce and Fetch responses.
const tagNodeEndpoints = 0

var hintShape = brokerShape{compact: true, rack: true}

var errTail = errors.New("the tags at its end contradict its size")

// Tail rewrites the tail of a walked response: the leader hints, and the tags around
// them. Its result replaces tail; where nothing changes it is tail itself.
//
// With fixed set, the frame's size has been sent already, and as many bytes are returned
// as came in. Bytes that addresses no longer need are filled with a tag that no client
// knows, and that every client skips by its size. Hints that do not fit are taken out:
// clients then request Metadata, as they do with a broker that gives no hints.
func (r *Rewriter) Tail(key, version int16, tail []byte, fixed bool) (out []byte, notes Notes, err error) {
	t, err := readTail(key, tail)
	if err != nil {
		return nil, Notes{}, parseError(key, version, err)
	}
	if len(t.hints.brokers) == 0 {
		return tail, Notes{}, nil
	}
	notes = r.translate(key, Brokers{List: t.hints.brokers})
	if !fixed {
		return t.append(make([]byte, 0, len(tail)), padding{}), notes, nil
	}
	out, fits := t.appendFixed(len(tail))
	if !fits {
		t.hints = brokerList{}
		notes.Neutralised = true
		if out, fits = t.appendFixed(len(tail)); !fits {
			return nil, Notes{}, parseError(key, version, errTail)
		}
	}
	return out, notes, nil
}

// tail is the end of a response. In the share APIs the hints are an array before
// the tags, in the others they are one of the tags.
type tail struct {
	mandatory bool // the hints are an array before the tags
	hints     brokerList
	others    []tag // in the order they came in
}

type tag struct {
	number uint32
	value  []byte
}

func readTail(key int16, b []byte) (tail, error) {
	t := tail{mandatory: key == kmsg.ShareFetch.Int16() || key == kmsg.ShareAcknowledge.Int16()}
	rd := wire.NewReader(b)
	if t.mandatory {
		t.hints = readBrokers(&rd, hintShape)
	}
	seen := false
	for n := rd.TagCount(); n > 0 && rd.Err() == nil; n-- {
		number := rd.Uvarint()
		value := rd.Take(int(rd.Uvarint()))
		if number != tagNodeEndpoints || t.mandatory {
			t.others = append(t.others, tag{number, value})
			continue
		}
		if seen {
			return tail{}, errTail
		}
		seen = true
		in := wire.NewReader(value)
		t.hints = readBrokers(&in, hintShape)
		if in.Err() != nil || in.Len() > 0 {
			return tail{}, errTail
		}
	}
	if rd.Err() != nil || rd.Len() > 0 {
		return tail{}, errTail
	}
	return t, nil
}

// append writes the tail, and p at its place among the tags, which ascend.
func (t tail) append(dst []byte, p padding) []byte {
	if t.mandatory {
		dst = t.hints.append(dst, hintShape)
	}
	hinted := !t.mandatory && t.hints.kept() > 0
	count := len(t.others) + p.tags()
	if hinted {
		count++
	}
	dst = appendUvarintWide(dst, uint32(count), p.wideCount)
	if hinted {
		value := t.hints.append(nil, hintShape)
		dst = appendTag(dst, tag{tagNodeEndpoints, value})
	}
	for _, o := range t.others {
		if o.number > p.number {
			dst, p = p.append(dst), padding{}
		}
		dst = appendTag(dst, o)
	}
	return p.append(dst)
}

// appendFixed writes the tail in exactly n bytes, or reports that it does not fit.
func (t tail) appendFixed(n int) (out []byte, fits bool) {
	bare := t.append(make([]byte, 0, n), padding{})
	if len(bare) == n {
		return bare, true
	}
	number := uint32(firstPadTag)
	for slices.ContainsFunc(t.others, func(o tag) bool { return o.number == number }) {
		number++
	}
	// A tag's number, its size, and a count that grows by a byte with the
	// 128th tag: the padding that fills the rest is found by trying.
	for _, p := range paddings(number, n-len(bare)) {
		if out = t.append(bare[:0], p); len(out) == n {
			return out, true
		}
	}
	return nil, false
}

func appendTag(dst []byte, t tag) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.number))
	dst = binary.AppendUvarint(dst, uint64(len(t.value)))
	return append(dst, t.value...)
}
