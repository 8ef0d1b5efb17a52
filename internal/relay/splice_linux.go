package relay

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"

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

// rawReader reads from a plain TCP connection. It takes a buffer, or a kernel pipe, only
// when the connection has something to read, and waits without. Its fields are the
// arguments and results of the functions that the poller calls: a closure for each read
// would be an allocation for each read.
type rawReader struct {
	raw         syscall.RawConn
	stream      *Stream
	tryRead     func(fd uintptr) bool
	tryReadMore func(fd uintptr) bool
	trySplice   func(fd uintptr) bool
	discardNow  func(fd uintptr)

	streak streak
	want   int         // bytes that the caller waits for
	n      int         // bytes that came
	pipe   *kernelPipe // has them, after trySplice
	flush  bool        // trySplice has to wait, and passed bytes have to be written before
	err    error
	late   error // of readMore, for the next read: the kernel reports a reset once
}

// newRawReader returns nil if src is not plain TCP.
func newRawReader(src net.Conn, p *Stream) *rawReader {
	raw := RawConnOf(src)
	if raw == nil {
		return nil
	}
	in := &rawReader{raw: raw, stream: p}
	in.tryRead, in.tryReadMore, in.trySplice, in.discardNow = in.readOnce, in.readMoreOnce, in.spliceOnce, in.discardAll
	return in
}

// rawWriter writes to a plain TCP connection. Its fields are as those of rawReader.
type rawWriter struct {
	raw      syscall.RawConn
	trySend  func(fd uintptr) bool
	tryWrite func(fd uintptr) bool
	tryReady func(fd uintptr) bool
	tryRoomy func(fd uintptr) bool

	ahead  []byte // is written before the bytes in the pipe, or alone
	pipe   *kernelPipe
	left   int  // bytes in the pipe; 0: no pipe is held
	behind int  // how many of them were copied into it
	more   bool // more bytes follow at once
	copied int  // bytes of ahead that are written
	room   int  // bytes that the socket takes at once, from tryReady and tryRoomy
	flags  int  // of trySend
	err    error
}

// newRawWriter returns nil if dst is not plain TCP.
func newRawWriter(dst net.Conn) *rawWriter {
	raw := RawConnOf(dst)
	if raw == nil {
		return nil
	}
	out := &rawWriter{raw: raw}
	out.trySend, out.tryWrite, out.tryReady, out.tryRoomy = out.sendAll, out.writeOnce, out.ready, out.lookForRoom
	return out
}

// RawConnOf gives access to the socket of conn. It returns nil if conn is not plain TCP.
func RawConnOf(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// read reads the bytes that have come. need is how many bytes the caller waits for.
func (in *rawReader) read(need int) (int, error) {
	if err := in.late; err != nil {
		in.late = nil
		return 0, err
	}
	in.want, in.n, in.err = need, 0, nil
	if err := in.raw.Read(in.tryRead); err != nil {
		return 0, err
	}
	return in.n, in.err
}

// readOnce is called by the poller. It returns false to wait until bytes have come.
func (in *rawReader) readOnce(fd uintptr) (done bool) {
	p := in.stream
	flags := 0
	if p.peekNext {
		flags = unix.MSG_PEEK
	}
	var again bool
	in.n, again, in.err = recvNow(int(fd), p.room(in.want), flags)
	in.streak.count(again)
	if again && p.end == 0 {
		p.GiveBack()
	}
	return !again
}

// discard removes n peeked bytes from the socket. It does not wait, because they are there.
// It ignores the read deadline, which may have been set to ask for something else.
func (in *rawReader) discard(n int) error {
	in.want, in.err = n, nil
	if err := in.raw.Control(in.discardNow); err != nil {
		return err
	}
	return in.err
}

// discardAll drops the wanted bytes: TCP discards bytes that are received with MSG_TRUNC.
func (in *rawReader) discardAll(fd uintptr) {
	for in.want > 0 {
		n, again, err := recvNow(int(fd), in.stream.buf[:in.want], unix.MSG_TRUNC)
		if again {
			err = io.ErrUnexpectedEOF // not reached: peeked bytes are there
		}
		if err != nil {
			in.err = err
			return
		}
		in.want -= n
	}
}

// canSplice reports whether the stream may splice.
func (p *Stream) canSplice() bool { return p.pool != nil && p.in != nil && p.out != nil }

// copyAll makes the stream copy everything from now on.
func (p *Stream) copyAll() {
	p.Misses.Add(1)
	p.pool = nil
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
			if err := p.out.raw.Write(p.out.tryReady); err != nil {
				return 0, &SideError{Err: err}
			}
			in.want = min(in.want, max(p.out.room, sure))
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
		p.Misses.Add(1)
		return true
	}
	n, again, err := spliceNow(int(fd), in.pipe.in, in.want, false)
	in.streak.count(again)
	if n > 0 {
		in.n = n
		return true
	}
	p.pool.put(in.pipe)
	switch {
	case refuses(err):
		p.copyAll()
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
		p.copyAll() // also the rest in the pipe
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

// roomy reports whether dst has room: a third of its socket's buffer.
func (p *Stream) roomy() bool {
	out := p.out
	if p.under != nil {
		out = p.under.out
	}
	if out == nil {
		return false
	}
	out.room = 0
	_ = out.raw.Write(out.tryRoomy) // on an error there is no room
	return out.room > 0
}

func (out *rawWriter) lookForRoom(fd uintptr) (done bool) {
	_ = out.ready(fd) // do not wait
	return true
}

// ready is called by the poller. It returns false to wait until the socket has room, and
// notes how much: a large chunk must not be larger.
func (out *rawWriter) ready(fd uintptr) (done bool) {
	if !hasRoom(int(fd)) {
		return false
	}
	out.room = roomOf(int(fd))
	return true
}

// write writes b, and waits for room. If more bytes follow at once, the kernel may hold
// back a packet that is not full.
func (out *rawWriter) write(b []byte, follows bool) (n int, err error) {
	out.ahead, out.copied, out.flags, out.err = b, 0, 0, nil
	if follows {
		out.flags = unix.MSG_MORE
	}
	if err = out.raw.Write(out.trySend); err == nil {
		err = out.err
	}
	n, out.ahead = out.copied, nil
	return n, err
}

// sendAll is called by the poller. It returns false to wait until the socket has room.
func (out *rawWriter) sendAll(fd uintptr) (done bool) {
	again := out.send(fd, out.flags)
	return !again
}

// writeOnce is called by the poller. It never waits, because the stream holds a pipe.
func (out *rawWriter) writeOnce(fd uintptr) (done bool) {
	if again := out.send(fd, unix.MSG_MORE); again || out.err != nil {
		return true
	}
	for out.left > 0 {
		n, again, err := spliceNow(out.pipe.out, int(fd), out.left, out.more)
		if n == 0 {
			if !again {
				out.err = err
			}
			return true
		}
		out.left -= n
	}
	return true
}

// send writes ahead. again says that the socket has no room for the rest of it.
func (out *rawWriter) send(fd uintptr, flags int) (again bool) {
	for out.copied < len(out.ahead) && out.err == nil {
		var n int
		if n, again, out.err = sendNow(int(fd), out.ahead[out.copied:], flags); again {
			return true
		}
		out.copied += n
	}
	return false
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
