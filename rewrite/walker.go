package rewrite

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// MaxTail is the largest tail of a walked response that is held, in bytes: some five
// hundred brokers' addresses, while a response names only the leaders of its partitions.
const MaxTail = 64 << 10

// Verb is the action on the next bytes of a walked response.
type Verb uint8

// The verbs. N is Step.N.
const (
	Pass Verb = iota // the next N bytes hold no address; N may reach beyond the bytes shown
	Need             // show at least N bytes
	Tail             // the last N bytes of the response: hold them, and give them to Rewriter.Tail
)

// Step is a Walker's result.
type Step struct {
	Verb Verb
	N    int
}

// maxDepth is how deep arrays lie in each other: topics, partitions, and the
// lists inside a partition.
const maxDepth = 3

// Walker goes through a response with treatment Walk without keeping any of it, and finds
// its tail. It needs a few bytes at a time: strings, records and tags are passed by their
// length. One Walker serves one response after another; it keeps no reference to the
// bytes that it was shown.
//
//	w.Start(key, version, size of the payload)
//	for {
//		step, err := w.Next(bytes from here on)
//		Pass: forward N bytes, from the buffer or from the socket behind it
//		Need: read on
//		Tail: done
//	}
type Walker struct {
	key, version int16
	isRequest    bool
	steps        layout
	at           int              // index into steps
	left         int              // bytes of the frame that were not passed
	elements     [maxDepth]uint32 // left in each open array
	depth        int
	tags         uint32 // left in an open tag section
	inTags       bool
}

// Start begins a response. payload is how many bytes its frame has behind the
// correlation id. Key and version must have treatment Walk.
func (w *Walker) Start(key, version int16, payload int) {
	*w = Walker{key: key, version: version, steps: layouts[key][version], left: payload}
}

// StartRequest begins a request at its body, which has body bytes. Key and version
// must be those of a Fetch request for which ReplicaOf is AtTail.
func (w *Walker) StartRequest(key, version int16, body int) {
	*w = Walker{key: key, version: version, isRequest: true, steps: fetchRequestLayout, left: body}
}

// fail is an error about the response that is walked.
func (w *Walker) fail(err error) error {
	if w.isRequest {
		return fmt.Errorf("parse %s v%d request: %w", kmsg.NameForKey(w.key), w.version, err)
	}
	return parseError(w.key, w.version, err)
}

// Next looks at b, the response's bytes from the first that was not passed, and returns
// the action on them. b may end anywhere, and may reach beyond the response. An error
// means that the response contradicts itself; nothing that was passed before holds an
// address.
func (w *Walker) Next(b []byte) (Step, error) {
	b = b[:min(len(b), w.left)]
	pos := 0
	for pos <= len(b) {
		n, short, err := w.step(b[pos:], pos)
		switch {
		case err != nil:
			return Step{}, w.fail(err)
		case short && pos > 0:
			return w.pass(pos), nil
		case short:
			return Step{Need, len(b) + 1}, nil
		}
		pos += n
		if pos > w.left {
			return Step{}, w.fail(wire.ErrShort)
		}
		if w.steps[w.at].do == atTail && !w.inTags {
			return w.tail(pos)
		}
	}
	return w.pass(pos), nil
}

func (w *Walker) pass(n int) Step {
	w.left -= n
	return Step{Pass, n}
}

// tail is said once everything before it has been passed.
func (w *Walker) tail(pos int) (Step, error) {
	switch {
	case pos > 0:
		return w.pass(pos), nil
	case w.left > MaxTail:
		return Step{}, w.fail(fmt.Errorf("%d bytes at its end, more than %d", w.left, MaxTail))
	default:
		return Step{Tail, w.left}, nil
	}
}

// step takes one step at the start of b, which lies pos bytes behind the passed bytes,
// and returns how many bytes it covers. short means that b ends too early.
func (w *Walker) step(b []byte, pos int) (n int, short bool, err error) {
	if w.inTags {
		return w.tag(b, pos)
	}
	s := w.steps[w.at]
	switch s.do {
	case passFixed:
		w.at++
		return s.n, false, nil
	case nextElement:
		w.next(s)
		return 0, false, nil
	case atTail:
		return 0, false, nil
	default:
	}
	v, n, err := wire.Uvarint(b)
	if err != nil {
		return w.shortOr(err, b, pos)
	}
	switch s.do {
	case passCompact:
		w.at++
		n += w.length(max(v, 1)-1, pos)
	case passTags:
		if v > wire.MaxTags {
			return 0, false, wire.ErrTooManyTags
		}
		w.at++
		w.tags, w.inTags = v, v > 0
	default: // beginArray
		if v > wire.MaxElements+1 {
			return 0, false, wire.ErrTooManyElements
		}
		if int(v)-1 > w.left-pos {
			return 0, false, fmt.Errorf("an array of %d in %d bytes", v-1, w.left-pos)
		}
		w.begin(s, v)
	}
	return n, false, nil
}

// begin opens an array of v-1 elements, or steps over an empty one.
func (w *Walker) begin(s step, v uint32) {
	if v <= 1 {
		w.at += 1 + s.n
		return
	}
	w.elements[w.depth] = v - 1
	w.depth++
	w.at++
}

// next ends an element.
func (w *Walker) next(s step) {
	open := &w.elements[w.depth-1]
	*open--
	if *open > 0 {
		w.at -= s.n
		return
	}
	w.depth--
	w.at++
}

// tag takes one tag of an open tag section: its number, its size, its value.
func (w *Walker) tag(b []byte, pos int) (n int, short bool, err error) {
	_, numberLen, err := wire.Uvarint(b)
	if err != nil {
		return w.shortOr(err, b, pos)
	}
	size, sizeLen, err := wire.Uvarint(b[numberLen:])
	if err != nil {
		return w.shortOr(err, b, pos)
	}
	w.tags--
	w.inTags = w.tags > 0
	return numberLen + sizeLen + w.length(size, pos), false, nil
}

// length returns v as an int, also where that has 32 bits: a length beyond the frame is
// cut to one that is still too long for it.
func (w *Walker) length(v uint32, pos int) int {
	return int(min(v, uint32(w.left-pos)+1))
}

// shortOr distinguishes bytes that have not arrived from missing ones.
func (w *Walker) shortOr(err error, b []byte, pos int) (n int, short bool, _ error) {
	if err == wire.ErrShort && pos+len(b) < w.left { //nolint:errorlint // Uvarint returns it bare
		return 0, true, nil
	}
	return 0, false, err
}
