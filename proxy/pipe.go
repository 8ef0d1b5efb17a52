package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// bufferSize is how much of a connection is read at a time. Whole small
	// frames in it leave in one write, and it stays in the processor's cache.
	bufferSize = 16 << 10
	// maxHeader bounds what a request may hold in front of the last field that
	// is read of it: client id and transactional id, 32 KiB each, and tags.
	maxHeader = 128 << 10
)

// pipe moves one direction of a session through one buffer. What has been read
// is looked at (peek), then decided upon: pass, drop, or write something else in
// its place. Nothing is lost and nothing overtakes.
//
//	buf: ┃ written ┃ passed, not yet written ┃ read, not yet decided ┃ free ┃
//	               sent                      next                    end
//
// What is passed is written when the pipe has to read, so that many small frames
// leave in one write and nothing waits for bytes that have not come. One
// goroutine uses a pipe; only the counts may be read by others.
type pipe struct {
	src, dst        net.Conn
	buf             []byte
	sent, next, end int

	opened time.Time    // of the session; active counts from here
	moved  atomic.Int64 // bytes written to dst by copying
	frames atomic.Int64 // frames begun, by whoever tells them apart
	active atomic.Int64 // when bytes were last written to dst, as a time.Duration since opened

	// exact has reads take no more than is needed. A pipe that is fed without
	// a pause then comes to its end, nothing buffered, behind every frame.
	exact bool

	// expired is asked when a read deadline passes: nil reads on, an error
	// is returned in place of the deadline's. A nil expired fails.
	expired func(err error) error
}

// sideError tells which connection failed.
type sideError struct {
	reading bool // src failed, otherwise dst
	err     error
}

func (e *sideError) Error() string {
	if e.reading {
		return fmt.Sprintf("read: %v", e.err)
	}
	return fmt.Sprintf("write: %v", e.err)
}

func (e *sideError) Unwrap() error { return e.err }

// buffered returns how many bytes peek has at hand without reading.
func (p *pipe) buffered() int { return p.end - p.next }

// peek returns all bytes that are not decided upon, at least n. They are valid
// until the next call of any method. It writes what was passed before it reads.
func (p *pipe) peek(n int) ([]byte, error) {
	for p.buffered() < n {
		if err := p.flush(); err != nil {
			return nil, err
		}
		p.makeRoom()
		if err := p.read(n - p.buffered()); err != nil {
			return nil, err
		}
	}
	return p.buf[p.next:p.end], nil
}

// makeRoom leaves free bytes behind end. The buffer grows only as bytes really
// arrive, whatever length a peer has claimed.
func (p *pipe) makeRoom() {
	if p.end < len(p.buf) {
		return
	}
	if p.next == 0 {
		grown := make([]byte, max(2*len(p.buf), bufferSize))
		copy(grown, p.buf[:p.end])
		p.buf = grown
		return
	}
	p.end = copy(p.buf, p.buf[p.next:p.end])
	p.sent, p.next = 0, 0
}

// read reads what there is, of which need bytes are asked for.
func (p *pipe) read(need int) error {
	room := p.buf[p.end:]
	if p.exact {
		room = room[:min(need, len(room))]
	}
	n, err := p.src.Read(room)
	p.end += n
	if n > 0 || err == nil {
		return nil // an error comes again at the next read
	}
	err = &sideError{reading: true, err: err}
	if p.expired != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return p.expired(err)
	}
	return err
}

// flush writes what was passed.
func (p *pipe) flush() error {
	if p.sent < p.next {
		if err := p.put(p.buf[p.sent:p.next]); err != nil {
			return err
		}
		p.sent = p.next
	}
	if p.next == p.end {
		p.sent, p.next, p.end = 0, 0, 0
		if len(p.buf) > bufferSize {
			p.buf = nil // grown for one large answer: give it back
		}
	}
	return nil
}

func (p *pipe) put(b []byte) error {
	n, err := p.dst.Write(b)
	p.moved.Add(int64(n))
	p.active.Store(int64(time.Since(p.opened)))
	if err != nil {
		return &sideError{err: err}
	}
	return nil
}

// pass sends the next n bytes on as they are. Those that have not been read yet
// are copied through as they come, however many.
func (p *pipe) pass(n int) error {
	if have := min(n, p.buffered()); have > 0 {
		p.next += have
		n -= have
	}
	for n > 0 {
		if err := p.flush(); err != nil {
			return err
		}
		p.makeRoom()
		if err := p.read(n); err != nil {
			return err
		}
		have := min(n, p.buffered())
		p.next += have
		n -= have
	}
	return nil
}

// drop takes the next n bytes away.
func (p *pipe) drop(n int) error {
	for {
		if err := p.flush(); err != nil {
			return err
		}
		have := min(n, p.buffered())
		p.next += have
		p.sent = p.next
		if n -= have; n == 0 {
			return nil
		}
		if _, err := p.peek(1); err != nil {
			return err
		}
	}
}

// write sends b in place of what comes next.
func (p *pipe) write(b []byte) error {
	if err := p.flush(); err != nil {
		return err
	}
	return p.put(b)
}
