package proxy

import "sync"

// Buffers are what pipes lend each other: whoever holds nothing has none.
type (
	buffer [bufferSize]byte
	bulk   [bulkSize]byte
	huge   [hugeSize]byte
)

var (
	buffers = sync.Pool{New: func() any { return new(buffer) }}
	bulks   = sync.Pool{New: func() any { return new(bulk) }}
	huges   = sync.Pool{New: func() any { return new(huge) }}
)

// loan is where a pipe's buffer goes back to: one of the pools, or none, where it
// has grown beyond them.
type loan struct {
	buffer *buffer
	bulk   *bulk
	huge   *huge
}

// lend returns a buffer of n bytes or more.
func lend(n int) ([]byte, loan) {
	switch {
	case n <= bufferSize:
		b := buffers.Get().(*buffer)
		return b[:], loan{buffer: b}
	case n <= bulkSize:
		b := bulks.Get().(*bulk)
		return b[:], loan{bulk: b}
	case n <= hugeSize:
		b := huges.Get().(*huge)
		return b[:], loan{huge: b}
	default:
		return make([]byte, n), loan{}
	}
}

// borrow gives the pipe, which has none, a buffer.
func (p *pipe) borrow() {
	n := bufferSize
	switch {
	case p.filled && p.roomy():
		n = hugeSize
	case p.filled:
		n = bulkSize
	}
	p.buf, p.lent = lend(n)
}

// grow makes room for n bytes in all.
func (p *pipe) grow(n int) {
	buf, lent := lend(n)
	copy(buf, p.buf[:p.end])
	p.giveBack()
	p.buf, p.lent = buf, lent
}

// giveBack leaves the pipe without a buffer.
func (p *pipe) giveBack() {
	switch {
	case p.lent.huge != nil:
		huges.Put(p.lent.huge)
	case p.lent.bulk != nil:
		bulks.Put(p.lent.bulk)
	case p.lent.buffer != nil:
		buffers.Put(p.lent.buffer)
	}
	p.buf, p.lent = nil, loan{}
}
