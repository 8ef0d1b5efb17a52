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
	// bufferSize is how much of a connection is read at a time. Whole small
	// frames in it leave in one write, and it stays in the processor's cache.
	BufferSize = 16 << 10
	// bulkSize is how much is read at a time of what fills a buffer and is not
	// spliced: parts of a large frame that are too small for that. hugeSize is the
	// same while the other side has room for all of it, so that nobody who has
	// stopped reading leaves so much in a buffer.
	bulkSize = 64 << 10
	hugeSize = 256 << 10
	// maxHeader bounds what a request may hold in front of the last field that
	// is read of it: client id and transactional id, 32 KiB each, and tags.
	MaxHeader = 128 << 10
)

// pipe moves one direction of a session through one buffer. What has been read
// is looked at (peek), then decided upon: pass, drop, or write something else in
// its place. Nothing is lost and nothing overtakes.
//
//	buf: ┃ written ┃ passed, not yet written ┃ read, not yet decided ┃ free ┃
//	               sent                      next                    end
//
// What is passed is written when the pipe has to read, so that many small frames
// leave in one write and nothing waits for bytes that have not come. Of a long
// pass, what has not been read is spliced: the kernel moves it from socket to
// socket, where both are plain TCP and a duct is free (see splice). One
// goroutine uses a pipe; only the counts may be read by others.
//
// A pipe that waits for bytes and holds none has no buffer, where the system can
// wait without one.
type Stream struct {
	src, dst        net.Conn
	in              *rawReader // reads src without a buffer while there is nothing to read; nil: not possible
	out             *rawWriter
	over, under     *rawTCPConn // what src and dst are TLS over; nil: they are not
	pool            *PipePool   // nil: everything is copied
	buf             []byte      // nil: none is held
	sent, next, end int
	peeked          int // bytes in buf that are in the socket yet: all of buf, or none
	chunk           int // how much is spliced at a time

	secure         bool    // src is TLS
	atFrameStart   bool    // nothing is read of the frame that boundary has told of, for src that is TLS
	first          [1]byte // of what TLS has then
	readFilled     bool    // the last read found more than there was room for
	peekNext       bool    // the next read looks, and leaves the bytes in the socket
	dstKeepsUp     bool    // dst has taken all of a chunk that was not its first, and of all since
	splicedInFrame bool    // something was spliced since boundary

	// exact has reads take no more than is needed. A pipe that is fed without
	// a pause then comes to its end, nothing buffered, behind every frame.
	Exact bool

	Copied  atomic.Int64 // bytes written to dst from a buffer
	Spliced atomic.Int64 // bytes written to dst by the kernel alone
	Misses  atomic.Int64 // how often bytes were copied because no duct was free, or a socket refused
	Frames  atomic.Int64 // frames begun, by whoever tells them apart
	Active  atomic.Int64 // when bytes were last written to dst, or the session began; a mark

	Keeper *Keeper // nil: a deadline that passes fails, and what is held is not counted
}

// boundary says that a frame begins with what is peeked at next. Behind a frame
// that was spliced there is likely to be another: of that one the head is only
// looked at, so that it can be spliced together with what follows.
func (p *Stream) Boundary() {
	p.peekNext = p.splicedInFrame && p.Buffered() == 0 && p.canSplice()
	p.splicedInFrame = false
	p.atFrameStart = p.Buffered() == 0
}

// connect says what the pipe reads and writes. Before that, or with a nil dst,
// it can be peeked into.
func (p *Stream) Connect(src, dst net.Conn, d *PipePool) {
	p.src, p.dst, p.pool = src, dst, d
	if p.in == nil {
		p.in = newRawReader(src, p)
	}
	_, p.secure = src.(*tls.Conn)
	p.over = rawUnder(src)
	p.out, p.under = newRawWriter(dst), rawUnder(dst)
}

// detach gives up everything but the counts. connect makes the pipe usable again.
func (p *Stream) Detach() {
	p.GiveBack()
	p.Keeper, p.in, p.out = nil, nil, nil
}

// moved returns how many bytes were written to dst.
func (p *Stream) Moved() int64 { return p.Copied.Load() + p.Spliced.Load() }

// sideError tells which connection failed.
type SideError struct {
	Reading bool // src failed, otherwise dst
	Err     error
}

func (e *SideError) Error() string {
	if e.Reading {
		return fmt.Sprintf("read: %v", e.Err)
	}
	return fmt.Sprintf("write: %v", e.Err)
}

func (e *SideError) Unwrap() error { return e.Err }

// buffered returns how many bytes peek has at hand without reading.
func (p *Stream) Buffered() int { return p.end - p.next }

// peek returns all bytes that are not decided upon, at least n. They are valid
// until the next call of any method. It writes what was passed before it reads.
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

// mustGrow reports whether the buffer is full of what is not decided upon.
func (p *Stream) mustGrow() bool { return p.buf != nil && p.end == len(p.buf) && p.next == 0 }

// peekWhole is peek for more than the buffer has room for. It takes turns with other
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

// reserve makes a full buffer grow. That may mean to wait for other sessions to end,
// which a poller's callback must not. The buffer grows only once it is full, whatever
// length a peer has claimed.
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

// makeRoom leaves free bytes behind end.
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

// room is where a read that is asked for need bytes puts what it finds.
func (p *Stream) room(need int) []byte {
	p.makeRoom()
	room := p.buf[p.end:]
	switch {
	case p.peekNext:
		return room[:min(max(need, glanceSize), len(room))]
	case p.Exact:
		return room[:min(need, len(room))]
	default:
		return room
	}
}

// read reads what there is, of which need bytes are asked for.
func (p *Stream) read(need int) error {
	if err := p.consumePeeked(); err != nil {
		return err
	}
	if p.Keeper != nil {
		p.Keeper.Turn.Leave()
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
		return nil // an error comes again at the next read
	}
	return p.failedToRead(err)
}

// failedToRead says what an error of reading means; nil: try again.
func (p *Stream) failedToRead(err error) error {
	err = &SideError{Reading: true, Err: err}
	if p.Keeper != nil && p.Keeper.Expired != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return p.Keeper.Expired(err)
	}
	return err
}

// flush writes what was passed.
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

// rewind starts an empty buffer from its front. Which one is the right one for
// bulk is to be found out again.
func (p *Stream) rewind() {
	if p.sent < p.end {
		return
	}
	p.sent, p.next, p.end = 0, 0, 0
	if p.readFilled || len(p.buf) != BufferSize {
		p.GiveBack()
	}
}

func (p *Stream) Put(b []byte) error {
	var n int
	var err error
	switch {
	case p.out != nil:
		n, err = p.out.write(b, false)
	case p.under != nil:
		n, err = p.putTLS(b)
	default:
		n, err = p.dst.Write(b)
	}
	p.Copied.Add(int64(n))
	p.Active.Store(int64(mark.Now()))
	if err != nil {
		return &SideError{Err: err}
	}
	return nil
}

// pass sends the next n bytes on as they are. Those that have not been read yet
// go through as they come, however many.
func (p *Stream) Pass(n int) error {
	if err := p.PassPart(n); err != nil || !p.holds() {
		return err
	}
	return p.Flush()
}

// passPart is pass for a part of a frame that more of it follows: what is on its
// way through the kernel may wait for that, as long as nobody waits.
func (p *Stream) PassPart(n int) error {
	if have := min(n, p.Buffered()); have > 0 {
		p.next += have
		n -= have
	}
	for n > 0 {
		if n >= minSplice && p.canSplice() {
			n += p.unpeek()
			moved, err := p.passSpliced(n)
			if err != nil {
				return err
			}
			if n -= moved; moved > 0 {
				continue
			}
		}
		if err := p.Flush(); err != nil {
			return err
		}
		if err := p.read(n); err != nil {
			return err
		}
		have := min(n, p.Buffered())
		p.next += have
		n -= have
	}
	return nil
}

// passSpliced passes up to n bytes through a duct, behind all that was passed
// before. The last of them stay in it if nothing else has to leave first.
func (p *Stream) passSpliced(n int) (moved int, err error) {
	if p.holds() {
		if err := p.Flush(); err != nil {
			return 0, err
		}
	}
	moved, err = p.splice(n)
	if moved > 0 && (moved < n || p.sent < p.next) {
		err = p.drainAfterPassed()
	}
	return moved, err
}

// unsee forgets what was only looked at and then passed, and returns how many
// bytes that were: they are still to be passed.
func (p *Stream) unpeek() int {
	if p.peeked == 0 {
		return 0
	}
	n := p.next - p.sent
	p.sent, p.next, p.end, p.peeked = 0, 0, 0, 0
	return n
}

// realize takes what was only looked at out of the socket.
func (p *Stream) consumePeeked() error {
	if p.peeked == 0 {
		return nil
	}
	n := p.peeked
	p.peeked = 0
	if err := p.in.discard(n); err != nil {
		return &SideError{Reading: true, Err: err}
	}
	return nil
}

// drop takes the next n bytes away.
func (p *Stream) Drop(n int) error {
	for {
		if err := p.Flush(); err != nil {
			return err
		}
		if err := p.consumePeeked(); err != nil {
			return err
		}
		have := min(n, p.Buffered())
		p.next += have
		p.sent = p.next
		if n -= have; n == 0 {
			return nil
		}
		if _, err := p.Peek(1); err != nil {
			return err
		}
	}
}

// write sends b in place of what comes next.
func (p *Stream) Write(b []byte) error {
	if err := p.Flush(); err != nil {
		return err
	}
	return p.Put(b)
}

// handOver gives up what was read and not decided upon: it is another's. The pipe
// is as new.
func (p *Stream) HandOver() []byte {
	ahead := slices.Clone(p.buf[p.next:p.end])
	p.sent, p.next, p.end, p.in = 0, 0, 0, nil
	p.GiveBack()
	return ahead
}
