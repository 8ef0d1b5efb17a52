package relay

import "sync"

// Streams share pools of buffers. A stream that holds no bytes has no buffer.
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

// lentFor returns the size of the buffer that lend returns for n bytes.
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

// lend returns a buffer of at least n bytes. It comes from a pool if n is at most hugeSize.
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

// borrow gives a stream without a buffer one. After a read that filled its room, the buffer
// is larger.
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

// mayHold reports whether the budget has room for a buffer of n bytes. Otherwise bulk is
// read into a small one.
func (p *Stream) mayHold(n int64) bool { return p.Keeper == nil || p.Keeper.Holding.try(n) }

// grow replaces the buffer by one of at least n bytes.
func (p *Stream) grow(n int) {
	buf := lend(n)
	copy(buf, p.buf[:p.end])
	p.repay()
	p.buf = buf
	if p.Keeper != nil && len(buf) > BufferSize {
		p.Keeper.Holding.force(int64(len(buf)))
	}
}

// GiveBack takes the buffer away from the stream. Its bytes are lost.
func (p *Stream) GiveBack() {
	if len(p.buf) > BufferSize && p.Keeper != nil {
		p.Keeper.Holding.Clear()
	}
	p.repay()
}

// repay puts the buffer back into its pool, which depends on its length.
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
