package relay

import (
	"errors"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"kproxy/internal/mark"
)

const (
	// minSplice is the shortest rest of a pass that is spliced. Below it the four system
	// calls cost more than two copies.
	minSplice = 16 << 10
	// minChunk is how many bytes are put into a kernel pipe at a time. While dst takes each
	// chunk at once, the chunk doubles, up to the size of the pipe.
	minChunk = 64 << 10
	// firstChunk is the size of the first chunk. The kernel widens the receive window by
	// how much more was read in one round trip than in the one before, so a large first
	// chunk widens it several times: src had 4 MiB in flight after a first chunk of 64 KiB,
	// and 2 MiB after one of 32 KiB. They all stay in the kernel if dst stops reading.
	firstChunk = 32 << 10
	// maxUnasked is how many bytes are put into a kernel pipe without asking how much room
	// dst has: a frame with 64 KiB of records. It is also the most that has to be read
	// back for a client that does not read.
	maxUnasked = 96 << 10
	// maxBehind is how many bytes that follow spliced ones are copied into the kernel pipe,
	// so that both leave together: the tail of a response. A pipe takes so many bytes
	// whole or not at all (PIPE_BUF).
	maxBehind = 4096
	// peekSize is how many bytes of a frame are peeked at before it is spliced: a request's
	// header, or the head of a response with a few topics.
	peekSize = 512
)

func defaultPipes() int { return pipesPerCore * runtime.GOMAXPROCS(0) }

// canSplice reports whether the stream may splice.
func (p *Stream) canSplice() bool { return p.pool != nil && p.in != nil && p.out != nil }

// copyAll makes the stream copy everything from now on.
func (p *Stream) copyAll() {
	p.Misses.Add(1)
	p.pool = nil
	p.copies.Store(true)
}

// refuse makes the stream copy everything from now on, because the system refuses to splice it.
func (p *Stream) refuse(err error) {
	p.pool.refused.Add(1)
	p.pool.refusal.CompareAndSwap(nil, &err)
	p.copyAll()
}

// refuses reports whether an error of splice may mean that these sockets cannot be spliced
// at all, as in sandboxes (seccomp, gVisor). If the error means something else, copying
// fails with it too.
func refuses(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM)
}

// splice moves up to n unread bytes from src into a kernel pipe, which the stream holds
// until drain. It may move fewer than n. If it moves none, they have to be copied this
// time: all pipes are in use, the deadline that passed was not for this read, or the
// sockets cannot be spliced.
//
//	src ──splice──▶ kernel pipe ──splice──▶ dst
//	                     └──read──▶ buf         bytes that dst does not take at once
//
// A stream never holds a kernel pipe while it waits. It takes one when src has bytes, and
// reads the bytes that dst does not take back into its buffer. So stalled streams, however
// many, use none of the pool.
func (p *Stream) splice(n int) (taken int, err error) {
	in := p.in
	p.splicedInFrame, p.readFilled = true, false
	in.want = min(n, max(p.chunk, firstChunk))
	if rest := n - in.want; 0 < rest && rest < minSplice {
		in.want -= minSplice // otherwise the last bytes would be copied
	}
	for {
		if sure := p.unasked(); in.want > sure {
			room, err := p.out.awaitRoom()
			if err != nil {
				return 0, &SideError{Err: err}
			}
			in.want = min(in.want, max(room, sure))
		}
		in.n, in.flush, in.err = 0, false, nil
		err := in.raw.Read(in.trySplice)
		if err == nil {
			err = in.err
		}
		switch {
		case err != nil:
			return 0, p.failedToRead(err)
		case in.n > 0:
			p.out.pipe, p.out.left = in.pipe, in.n
			return in.n, nil
		case !in.flush:
			return 0, nil
		}
		if err := p.Flush(); err != nil {
			return 0, err
		}
	}
}

// unasked returns how large a chunk may be without asking how much room dst has. After the
// first chunk, and after one that dst did not take at once, dst is asked once.
func (p *Stream) unasked() int {
	if p.chunk > 0 && !p.dstKeepsUp {
		return minSplice
	}
	return maxUnasked
}

// spliceOnce is called by the poller. It returns false to wait until bytes have come. Before
// it waits, passed bytes have to be written. It does not write them itself: a connection
// cannot be closed while its poller's callback waits for another one.
func (in *rawReader) spliceOnce(fd uintptr) (done bool) {
	p := in.stream
	if in.pipe = p.pool.get(); in.pipe == nil {
		if err := p.pool.noPipes.Load(); err != nil {
			p.refuse(*err)
		} else {
			p.Misses.Add(1)
		}
		return true
	}
	n, again, err := spliceNow(int(fd), in.pipe.in, in.want, false)
	if n == 0 && (again || errors.Is(err, io.EOF)) && hasBytes(int(fd)) {
		// Bytes may have come since. If they are still not spliced, they are hidden from it.
		if n, again, err = spliceNow(int(fd), in.pipe.in, in.want, false); n == 0 {
			p.pool.put(in.pipe)
			p.pool.hidden.Add(1)
			p.copyAll()
			return true
		}
	}
	in.streak.count(again)
	if n > 0 {
		in.n = n
		return true
	}
	p.pool.put(in.pipe)
	switch {
	case refuses(err):
		p.refuse(err)
	case !again:
		in.err = err
	case p.sent < p.next:
		in.flush = true
	default:
		p.rewind()
		p.GiveBack()
		return false
	}
	return true
}

// holds reports whether passed bytes are in a kernel pipe.
func (p *Stream) holds() bool { return p.out != nil && p.out.left > 0 }

// readMore reads the bytes that have come behind those in the kernel pipe. It does not
// wait.
func (p *Stream) readMore(need int) {
	in := p.in
	p.peekNext = false
	in.want, in.n, in.err = need, 0, nil
	if err := in.raw.Read(in.tryReadMore); err != nil {
		return // the next read returns it again
	}
	p.end += in.n
	in.late = in.err
}

// readMoreOnce is called by the poller. It never waits, because the stream holds a pipe.
func (in *rawReader) readMoreOnce(fd uintptr) (done bool) {
	if failpoints && fails(failReadMore) {
		return true // nothing has come
	}
	in.n, _, in.err = recvNow(int(fd), in.stream.room(in.want), 0)
	return true
}

// drainWithTail empties the kernel pipe into dst, together with the bytes that were passed
// since the pipe was filled, as far as the pipe takes them.
func (p *Stream) drainWithTail() error {
	out := p.out
	if behind := p.buf[p.sent:p.next]; 0 < len(behind) && len(behind) <= maxBehind {
		if n, _, err := writeNow(out.pipe.in, behind); err == nil {
			out.left += n
			out.behind = n
			p.sent += n
		}
	}
	out.more = p.sent < p.next
	return p.drain(nil, p.sent)
}

// drainAfterPassed writes the bytes that were passed before the kernel pipe was filled,
// and then empties the pipe into dst.
func (p *Stream) drainAfterPassed() error { return p.drain(p.buf[p.sent:p.next], p.next) }

// drain writes ahead, which is the front of buf, and then empties the kernel pipe into dst.
// Bytes that dst does not take go into buf at place.
func (p *Stream) drain(ahead []byte, place int) error {
	out := p.out
	d, n := out.pipe, out.left
	out.ahead, out.copied, out.err = ahead, 0, nil
	err := out.raw.Write(out.tryWrite)
	if err == nil {
		err = out.err
	}
	left, behind := out.left, out.behind
	out.ahead, out.pipe, out.left, out.behind, out.more = nil, nil, 0, 0, false
	p.sent += out.copied
	gone := behind - min(behind, left) // copied into the pipe, and written; these bytes leave last
	p.Copied.Add(int64(out.copied + gone))
	p.Spliced.Add(int64(n - left - gone))
	p.Active.Store(int64(mark.Now()))
	pool := p.pool
	if refuses(err) {
		p.refuse(err) // also the rest in the pipe
		err = nil
	}
	if err != nil {
		pool.destroy(d)
		return &SideError{Err: err}
	}
	if left == 0 {
		pool.put(d)
		p.rewind()
		p.dstKeepsUp = p.chunk > 0
		if n >= p.chunk {
			p.chunk = min(max(2*p.chunk, minChunk), pool.size)
		}
		return nil
	}
	p.chunk, p.dstKeepsUp = minChunk, false
	if err := p.spill(d, left, place); err != nil {
		pool.destroy(d)
		return &SideError{Reading: true, Err: err}
	}
	pool.put(d)
	return p.Flush() // waits for dst
}

// roomy reports whether dst has room: a third of its socket's buffer. It is called in a callback of
// src's poller, and so must not wait: the other pump may hold dst's write lock until the peer reads.
func (p *Stream) roomy() bool {
	out := p.out
	if p.under != nil {
		out = p.under.out
	}
	if out == nil {
		return false
	}
	out.seen = 0
	_ = out.raw.Control(out.tryRoomy) // on an error there is no room
	return out.seen > 0
}

// spill reads the n bytes of a kernel pipe into the buffer, as passed bytes. place is where
// they belong; it is not behind next.
func (p *Stream) spill(d *kernelPipe, n, place int) error {
	if p.end+n > len(p.buf) {
		p.grow(p.end + n)
	}
	copy(p.buf[place+n:], p.buf[place:p.end])
	for got := 0; got < n; {
		m, again, err := readNow(d.out, p.buf[place+got:place+n])
		switch {
		case again:
			return io.ErrUnexpectedEOF // not reached: the bytes are in the pipe
		case err != nil:
			return err
		}
		got += m
	}
	p.next += n
	p.end += n
	return nil
}
