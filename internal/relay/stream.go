package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"

	"kproxy/internal/mark"
)

const (
	// BufferSize is how many bytes of a connection are read at a time. The small frames in
	// a buffer leave in one write, and the buffer stays in the processor's cache.
	BufferSize = 16 << 10
	// bulkSize is how many bytes are read at a time after a read has filled a buffer and
	// splicing is not possible: parts of a large frame that are too small for it.
	// hugeSize is used instead while dst has room for all of it, so that a peer that has
	// stopped reading does not leave so much in a buffer.
	bulkSize = 64 << 10
	hugeSize = 256 << 10
	// MaxHeader bounds the bytes of a request up to the last field that kproxy reads:
	// client id and transactional id, 32 KiB each, and tags.
	MaxHeader = 128 << 10
)

// Stream moves one direction of a session, from src to dst, through one buffer. Its user
// peeks at the bytes that were read, and then passes or drops them, or writes others in
// their place. No byte is lost, and no byte overtakes another.
//
//	buf: ┃ written ┃ passed, not yet written ┃ read, not yet decided ┃ free ┃
//	               sent                      next                    end
//
// Passed bytes are written before the stream reads again, so that many small frames leave
// in one write, and none of them waits for bytes that have not come. The unread rest of a
// long pass is spliced, where both connections are plain TCP and a kernel pipe is free (see
// splice).
//
// One goroutine uses a stream. Other goroutines may read the counters only.
//
// On Linux, a stream that waits for bytes and holds none has no buffer.
type Stream struct {
	src, dst        net.Conn
	in              *rawReader // needs no buffer while it waits for src; nil: src is not plain TCP
	out             *rawWriter
	over, under     *rawTCPConn // the connections under the TLS of src and dst; nil: no TLS
	pool            *PipePool   // nil: everything is copied
	buf             []byte      // nil: none is held
	sent, next, end int
	peeked          int // bytes in buf that are still in the socket: all of buf, or 0
	chunk           int // bytes that are spliced at a time

	secure         bool    // src is TLS
	atFrameStart   bool    // nothing was read since Boundary; used where src is TLS
	first          [1]byte // the byte that is read then
	readFilled     bool    // the last read filled its room: src has more
	peekNext       bool    // the next read only peeks: the bytes stay in the socket
	dstKeepsUp     bool    // dst took a whole chunk that was not its first, and all chunks since
	splicedInFrame bool    // bytes were spliced since Boundary

	// Exact limits each read to the requested bytes. A stream whose source never pauses
	// then has nothing buffered at the end of every frame.
	Exact bool

	Copied  atomic.Int64 // bytes written to dst from a buffer
	Spliced atomic.Int64 // bytes written to dst by the kernel alone
	Misses  atomic.Int64 // how often bytes were copied because no kernel pipe was free, or a socket refused
	Frames  atomic.Int64 // frames begun; the stream's user counts them
	Active  atomic.Int64 // when bytes were last written to dst, or the session began; a mark.Mark

	reads   atomic.Int64 // how often src was read while bytes of it were held: one more read for the same frame
	writing atomic.Bool  // a write waits for dst, or, where dst is not plain TCP, goes on
	copies  atomic.Bool  // splicing was tried, and did not work: everything is copied since

	Keeper *Keeper // nil: a read deadline fails the read, and held bytes are not counted
}

// Boundary says that the next byte begins a frame. After a spliced frame another large one
// is likely: only the head of that one is peeked at, so that it can be spliced together
// with its rest.
func (p *Stream) Boundary() {
	p.peekNext = p.splicedInFrame && p.Buffered() == 0 && p.canSplice()
	p.splicedInFrame = false
	p.atFrameStart = p.Buffered() == 0
}

// Connect sets the connections that the stream reads and writes, and the pool of kernel
// pipes; nil: copy everything. With a nil dst the stream can only be peeked into.
func (p *Stream) Connect(src, dst net.Conn, d *PipePool) {
	p.src, p.dst, p.pool = src, dst, d
	p.copies.Store(false)
	if p.in == nil {
		p.in = newRawReader(src, p)
	}
	_, p.secure = src.(*tls.Conn)
	p.over = rawUnder(src)
	p.over.hasData()
	p.out, p.under = newRawWriter(dst, &p.writing), rawUnder(dst)
}

// Detach gives up everything but the counters. Connect makes the stream usable again.
func (p *Stream) Detach() {
	p.GiveBack()
	p.Keeper, p.in, p.out = nil, nil, nil
}

// Moved returns how many bytes were written to dst.
func (p *Stream) Moved() int64 { return p.Copied.Load() + p.Spliced.Load() }

// Copies reports whether the stream copies everything, because splicing has not worked. Any goroutine
// may ask.
func (p *Stream) Copies() bool { return p.copies.Load() }

// Progress returns a number that grows while bytes come from src or leave to dst, and whether the
// stream waits for dst.
func (p *Stream) Progress() (n int64, writing bool) {
	return p.reads.Load() + p.Moved(), p.writing.Load()
}

// SideError says which connection failed.
type SideError struct {
	Reading bool // src failed; otherwise dst
	Err     error
}

func (e *SideError) Error() string {
	if e.Reading {
		return fmt.Sprintf("read: %v", e.Err)
	}
	return fmt.Sprintf("write: %v", e.Err)
}

func (e *SideError) Unwrap() error { return e.Err }

// Buffered returns how many bytes Peek returns without reading.
func (p *Stream) Buffered() int { return p.end - p.next }

// Peek returns all bytes that are not decided upon, at least n. They are valid until the
// next call of any method. Before it reads, it writes the passed bytes.
func (p *Stream) Peek(n int) ([]byte, error) {
	if p.Buffered() < n && p.holds() && p.sent == p.next {
		p.readMore(n - p.Buffered())
	}
	for p.Buffered() < n {
		if err := p.Flush(); err != nil {
			return nil, err
		}
		if p.mustGrow() {
			return p.peekWhole(n)
		}
		if err := p.read(n - p.Buffered()); err != nil {
			return nil, err
		}
	}
	return p.buf[p.next:p.end], nil
}

// mustGrow reports whether the buffer is full of bytes that are not decided upon.
func (p *Stream) mustGrow() bool { return p.buf != nil && p.end == len(p.buf) && p.next == 0 }

// peekWhole is Peek for more than the buffer has room for. It takes turns with other
// sessions that do the same.
func (p *Stream) peekWhole(n int) ([]byte, error) {
	if p.Keeper != nil {
		defer p.Keeper.Holding.whole()
		if !p.Keeper.Turn.On() {
			p.Keeper.Turn.Begin()
			defer p.Keeper.Turn.End()
		}
	}
	for p.Buffered() < n {
		if p.mustGrow() {
			if err := p.reserve(); err != nil {
				return nil, err
			}
		}
		if err := p.read(n - p.Buffered()); err != nil {
			return nil, err
		}
	}
	return p.buf[p.next:p.end], nil
}

// reserve makes a full buffer grow. It may wait until other sessions have ended, so it must
// not be called by the poller. A buffer grows only when it is full, whatever length a peer
// has claimed.
func (p *Stream) reserve() error {
	n := lentFor(2 * len(p.buf))
	if p.Keeper != nil {
		p.Keeper.Turn.Leave()
		if err := p.Keeper.Holding.Set(int64(n)); err != nil {
			return err
		}
		p.Keeper.Turn.Enter()
	}
	p.grow(n)
	return nil
}

// makeRoom makes sure that the buffer has free bytes after end.
func (p *Stream) makeRoom() {
	switch {
	case p.buf == nil:
		p.borrow()
	case p.end < len(p.buf):
	case p.next == 0:
		p.grow(2 * len(p.buf))
	default:
		p.end = copy(p.buf, p.buf[p.next:p.end])
		p.sent, p.next = 0, 0
	}
}

// room returns the part of the buffer that a read of need bytes fills.
func (p *Stream) room(need int) []byte {
	p.makeRoom()
	room := p.buf[p.end:]
	switch {
	case p.peekNext:
		return room[:min(max(need, peekSize), len(room))]
	case p.Exact:
		return room[:min(need, len(room))]
	default:
		return room
	}
}

// read reads the bytes that have come. need is how many bytes the caller waits for.
func (p *Stream) read(need int) error {
	if err := p.consumePeeked(); err != nil {
		return err
	}
	if p.Keeper != nil {
		p.Keeper.Turn.Leave()
	}
	if p.end > p.next {
		p.reads.Add(1) // after a read that finds nothing held, a write or such a read follows
	}
	var n int
	var err error
	switch {
	case p.in != nil:
		n, err = p.in.read(need)
	case p.secure:
		n, err = p.readTLS(need)
	default:
		n, err = p.src.Read(p.room(need))
	}
	p.end += n
	p.readFilled = n > 0 && (p.end == len(p.buf) || len(p.buf) != BufferSize && n >= BufferSize)
	if p.peekNext {
		p.peekNext, p.peeked, p.readFilled = false, n, false
	}
	if n > 0 && p.Keeper != nil {
		p.Keeper.Turn.Enter()
	}
	if n > 0 || err == nil {
		return nil // the next read returns the error again
	}
	return p.failedToRead(err)
}

// failedToRead returns the error of a read, or nil if the read is to be tried again.
func (p *Stream) failedToRead(err error) error {
	err = &SideError{Reading: true, Err: err}
	if p.Keeper != nil && p.Keeper.Expired != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return p.Keeper.Expired(err)
	}
	return err
}

// Flush writes the passed bytes.
func (p *Stream) Flush() error {
	if p.Keeper != nil {
		p.Keeper.Turn.Leave() // dst may not take it
	}
	if p.holds() {
		if err := p.drainWithTail(); err != nil {
			return err
		}
	}
	if p.sent < p.next {
		if err := p.consumePeeked(); err != nil {
			return err
		}
		if err := p.Put(p.buf[p.sent:p.next]); err != nil {
			return err
		}
		p.sent = p.next
	}
	p.rewind()
	return nil
}

// rewind starts an empty buffer from its front. A buffer for bulk is given back: the next
// read decides again which size is right.
func (p *Stream) rewind() {
	if p.sent < p.end {
		return
	}
	p.sent, p.next, p.end = 0, 0, 0
	if p.readFilled || len(p.buf) != BufferSize {
		p.GiveBack()
	}
}

// Put writes b to dst, before everything that is buffered. The caller has called Flush.
func (p *Stream) Put(b []byte) error {
	var n int
	var err error
	switch {
	case p.out != nil:
		n, err = p.out.write(b, false)
	case p.under != nil:
		p.writing.Store(true)
		n, err = p.putTLS(b)
		p.writing.Store(false)
	default:
		p.writing.Store(true)
		n, err = p.dst.Write(b)
		p.writing.Store(false)
	}
	p.Copied.Add(int64(n))
	p.Active.Store(int64(mark.Now()))
	if err != nil {
		return &SideError{Err: err}
	}
	return nil
}

// HandOver returns the bytes that were read and not decided upon, and forgets them. The
// stream is as new. The caller gives these bytes to another reader of src.
func (p *Stream) HandOver() []byte {
	ahead := slices.Clone(p.buf[p.next:p.end])
	p.sent, p.next, p.end, p.in = 0, 0, 0, nil
	p.GiveBack()
	return ahead
}
