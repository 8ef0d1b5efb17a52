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

// lend returns a buffer of n bytes or more, of one of the pools while n fits.
func lend(n int) []byte {
	switch {
	case n <= bufferSize:
		return buffers.Get().(*buffer)[:]
	case n <= bulkSize:
		return bulks.Get().(*bulk)[:]
	case n <= hugeSize:
		return huges.Get().(*huge)[:]
	default:
		return make([]byte, n)
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
	p.buf = lend(n)
}

// grow makes room for n bytes in all.
func (p *pipe) grow(n int) {
	buf := lend(n)
	copy(buf, p.buf[:p.end])
	p.giveBack()
	p.buf = buf
}

// giveBack leaves the pipe without a buffer. One that is of a pool is as long as those
// are, and goes back there.
func (p *pipe) giveBack() {
	switch len(p.buf) {
	case hugeSize:
		huges.Put((*huge)(p.buf))
	case bulkSize:
		bulks.Put((*bulk)(p.buf))
	case bufferSize:
		buffers.Put((*buffer)(p.buf))
	}
	p.buf = nil
}
