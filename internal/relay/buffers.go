package relay

import "sync"

// Buffers are what pipes lend each other: whoever holds nothing has none.
type (
	buffer [BufferSize]byte
	bulk   [bulkSize]byte
	huge   [hugeSize]byte
)

var (
	buffers = sync.Pool{New: func() any { return new(buffer) }}
	bulks   = sync.Pool{New: func() any { return new(bulk) }}
	huges   = sync.Pool{New: func() any { return new(huge) }}
)

// lentFor is how long a buffer is that lend returns for n bytes.
func lentFor(n int) int {
	switch {
	case n <= BufferSize:
		return BufferSize
	case n <= bulkSize:
		return bulkSize
	case n <= hugeSize:
		return hugeSize
	default:
		return n
	}
}

// lend returns a buffer of n bytes or more, of one of the pools while n fits.
func lend(n int) []byte {
	switch {
	case n <= BufferSize:
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
func (p *Stream) borrow() {
	n := BufferSize
	switch {
	case p.readFilled && p.roomy() && p.mayHold(hugeSize):
		n = hugeSize
	case p.readFilled && p.mayHold(bulkSize):
		n = bulkSize
	}
	p.buf = lend(n)
}

// mayHold reports whether there is room for a buffer of n bytes. Bulk is read into
// a small one otherwise.
func (p *Stream) mayHold(n int64) bool { return p.Keeper == nil || p.Keeper.Holding.try(n) }

// grow makes room for n bytes in all.
func (p *Stream) grow(n int) {
	buf := lend(n)
	copy(buf, p.buf[:p.end])
	p.repay()
	p.buf = buf
	if p.Keeper != nil && len(buf) > BufferSize {
		p.Keeper.Holding.force(int64(len(buf)))
	}
}

// giveBack leaves the pipe without a buffer. One that is of a pool is as long as those
// are, and goes back there.
func (p *Stream) GiveBack() {
	if len(p.buf) > BufferSize && p.Keeper != nil {
		p.Keeper.Holding.Clear()
	}
	p.repay()
}

// repay puts the buffer back into its pool.
func (p *Stream) repay() {
	switch len(p.buf) {
	case hugeSize:
		huges.Put((*huge)(p.buf))
	case bulkSize:
		bulks.Put((*bulk)(p.buf))
	case BufferSize:
		buffers.Put((*buffer)(p.buf))
	}
	p.buf = nil
}
