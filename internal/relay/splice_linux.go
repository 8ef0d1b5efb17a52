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
	// minSplice is the shortest rest of a pass that is spliced. Below it the
	// four system calls cost more than two copies.
	minSplice = 16 << 10
	// minChunk is what is put into a duct at a time; as long as everything finds
	// room at once, it is doubled up to what a duct holds.
	minChunk = 64 << 10
	// firstChunk is what is put into a duct first. The kernel widens a window by how
	// much more was read in a round trip than in the one before, and a leap counts
	// many times: src had 4 MiB on their way here after a first chunk of 64 KiB, 2 MiB
	// after this one, all of which stay in the kernel if dst stops reading.
	firstChunk = 32 << 10
	// surely is how much is put into a duct without a look at how much room dst has,
	// and so the most that has to be taken out again for a client that does not
	// read: a frame of 64 KiB and what is around its records.
	maxUnasked = 96 << 10
	// maxBehind is how much of what follows is copied into a duct, so that it
	// leaves together with what was spliced: the tail of an answer. A pipe takes
	// so much whole or not at all (PIPE_BUF).
	maxBehind = 4096
	// glanceSize is how much of a frame is looked at before it is spliced: a
	// request's header, or the head of an answer with a few topics.
	glanceSize = 512
)

func defaultPipes() int { return pipesPerCore * runtime.GOMAXPROCS(0) }

// inlet reads from a plain TCP connection. It takes a buffer, or a duct, only
// when the connection has something to read, and waits without. What it does in
// the poller's callback lies in fields, because a closure for each read would be
// an allocation for each read.
type rawReader struct {
	raw         syscall.RawConn
	stream      *Stream
	tryRead     func(fd uintptr) bool
	tryReadMore func(fd uintptr) bool
	trySplice   func(fd uintptr) bool
	discardNow  func(fd uintptr)

	streak streak
	want   int         // bytes that are asked for
	n      int         // bytes that came
	pipe   *kernelPipe // that they are in, after trySplice
	flush  bool        // before trySplice may wait, what was passed has to be written
	err    error
	late   error // that glean has met, for the next read: a reset is told once
}

// newInlet returns nil if src is not plain TCP.
func newRawReader(src net.Conn, p *Stream) *rawReader {
	raw := RawConnOf(src)
	if raw == nil {
		return nil
	}
	in := &rawReader{raw: raw, stream: p}
	in.tryRead, in.tryReadMore, in.trySplice, in.discardNow = in.readOnce, in.readMoreOnce, in.spliceOnce, in.discardAll
	return in
}

// outlet writes to a plain TCP connection.
type rawWriter struct {
	raw      syscall.RawConn
	trySend  func(fd uintptr) bool
	tryWrite func(fd uintptr) bool
	tryReady func(fd uintptr) bool
	tryRoomy func(fd uintptr) bool

	ahead  []byte // goes in front of what is in the duct, or alone
	pipe   *kernelPipe
	left   int  // bytes in the duct; 0: none is held
	behind int  // how many of them were copied into it
	more   bool // more follows at once
	copied int  // bytes of ahead that are written
	room   int  // what the socket takes at once, as tryReady and tryRoomy have found it
	flags  int  // of trySend
	err    error
}

// newOutlet returns nil if dst is not plain TCP.
func newRawWriter(dst net.Conn) *rawWriter {
	raw := RawConnOf(dst)
	if raw == nil {
		return nil
	}
	out := &rawWriter{raw: raw}
	out.trySend, out.tryWrite, out.tryReady, out.tryRoomy = out.sendAll, out.writeOnce, out.ready, out.lookForRoom
	return out
}

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

// read reads what there is, of which need bytes are asked for.
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

// readOnce is called by the poller; false waits until there is something to read.
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

// discard takes n bytes that were looked at out of the socket. They are there: it
// does not wait, and a deadline that has passed, which may ask for something
// else, does not keep it from them.
func (in *rawReader) discard(n int) error {
	in.want, in.err = n, nil
	if err := in.raw.Control(in.discardNow); err != nil {
		return err
	}
	return in.err
}

// discardAll drops what is wanted: TCP does so with what is received with
// MSG_TRUNC.
func (in *rawReader) discardAll(fd uintptr) {
	for in.want > 0 {
		n, again, err := recvNow(int(fd), in.stream.buf[:in.want], unix.MSG_TRUNC)
		if again {
			err = io.ErrUnexpectedEOF // not reached: what was seen is there
		}
		if err != nil {
			in.err = err
			return
		}
		in.want -= n
	}
}

// canSplice reports whether there may be a way through the kernel.
func (p *Stream) canSplice() bool { return p.pool != nil && p.in != nil && p.out != nil }

// copyAll has nothing be spliced from now on.
func (p *Stream) copyAll() {
	p.Misses.Add(1)
	p.pool = nil
}

// refuses reports whether an error of splice may mean that these sockets cannot
// be spliced at all: sandboxes say so (seccomp, gVisor). What else it can mean,
// copying finds out.
func refuses(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM)
}

// splice takes up to n bytes that have not been read from src into a duct, which
// the pipe holds until pour. It may take less than n; 0 means that they have to
// be copied this time: all ducts are in use, a deadline was not meant, or the
// sockets cannot be spliced.
//
//	src ──splice──▶ duct ──splice──▶ dst
//	                  └──read──▶ buf     what dst does not take at once
//
// A duct is held between two waits, and never during one: neither for bytes to
// come (inlet), nor for a client that does not read, for what such a client
// leaves in it is taken back into a buffer. So the budget of ducts is one for
// those who move, and those who are stalled, however many, take nothing of it.
func (p *Stream) splice(n int) (taken int, err error) {
	in := p.in
	p.splicedInFrame, p.readFilled = true, false
	in.want = min(n, max(p.chunk, firstChunk))
	if rest := n - in.want; 0 < rest && rest < minSplice {
		in.want -= minSplice // or the last few would be copied
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

// sure is how large a chunk is put into a duct without a look at how much room dst has.
// Behind the first one, and behind one that did not find room, that is looked at once.
func (p *Stream) unasked() int {
	if p.chunk > 0 && !p.dstKeepsUp {
		return minSplice
	}
	return maxUnasked
}

// spliceOnce is called by the poller; false waits until there is something to
// splice. While there is not, nothing that was passed may wait; but it is not
// written here, because nobody can close a connection while its poller waits for
// another.
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

// holds reports whether there is something in a duct that was passed, and not
// yet written.
func (p *Stream) holds() bool { return p.out != nil && p.out.left > 0 }

// glean reads, behind what is in the duct, what has come, and does not wait.
func (p *Stream) readMore(need int) {
	in := p.in
	p.peekNext = false
	in.want, in.n, in.err = need, 0, nil
	if err := in.raw.Read(in.tryReadMore); err != nil {
		return // it comes again at the next read
	}
	p.end += in.n
	in.late = in.err
}

// gleanOnce is called by the poller. It never waits: the duct is not to be held.
func (in *rawReader) readMoreOnce(fd uintptr) (done bool) {
	in.n, _, in.err = recvNow(int(fd), in.stream.room(in.want), 0)
	return true
}

// pourBehind empties the duct into dst, and with it what was passed since it was
// filled, as far as the duct takes it.
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

// pourAhead empties the duct into dst, behind what was passed before it was
// filled.
func (p *Stream) drainAfterPassed() error { return p.drain(p.buf[p.sent:p.next], p.next) }

// pour empties the duct into dst, behind ahead, which is the front of what is in
// buf. What dst does not take is put into buf at the place where it belongs.
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
	gone := behind - min(behind, left) // of what was copied into the duct, which leaves last
	p.Copied.Add(int64(out.copied + gone))
	p.Spliced.Add(int64(n - left - gone))
	p.Active.Store(int64(mark.Now()))
	ducts := p.pool
	if refuses(err) {
		p.copyAll() // what it has not taken, too
		err = nil
	}
	if err != nil {
		ducts.destroy(d)
		return &SideError{Err: err}
	}
	if left == 0 {
		ducts.put(d)
		p.rewind()
		p.dstKeepsUp = p.chunk > 0
		if n >= p.chunk {
			p.chunk = min(max(2*p.chunk, minChunk), ducts.size)
		}
		return nil
	}
	p.chunk, p.dstKeepsUp = minChunk, false
	if err := p.spill(d, left, place); err != nil {
		ducts.destroy(d)
		return &SideError{Reading: true, Err: err}
	}
	ducts.put(d)
	return p.Flush() // waits for dst
}

// roomy reports whether dst has room, which is a third of its socket's buffer.
func (p *Stream) roomy() bool {
	out := p.out
	if p.under != nil {
		out = p.under.out
	}
	if out == nil {
		return false
	}
	out.room = 0
	_ = out.raw.Write(out.tryRoomy) // without one there is no room
	return out.room > 0
}

func (out *rawWriter) lookForRoom(fd uintptr) (done bool) {
	_ = out.ready(fd) // it is not waited for
	return true
}

// ready is called by the poller; false waits until the socket has room. A large
// chunk is put into a duct only then, and no larger one than finds room.
func (out *rawWriter) ready(fd uintptr) (done bool) {
	if !hasRoom(int(fd)) {
		return false
	}
	out.room = roomOf(int(fd))
	return true
}

// write writes b, and waits while there is no room for it. If more follows at
// once, the kernel may keep what fills no packet.
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

// sendAll is called by the poller; false waits until the socket has room.
func (out *rawWriter) sendAll(fd uintptr) (done bool) {
	again := out.send(fd, out.flags)
	return !again
}

// writeOnce is called by the poller. It never waits: the duct is not to be held.
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

// send sends what is ahead; again says that there is no room for all of it.
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

// takeBack reads the n bytes in a duct into the buffer, as passed, at a place
// that is not behind next.
func (p *Stream) spill(d *kernelPipe, n, place int) error {
	if p.end+n > len(p.buf) {
		p.grow(p.end + n)
	}
	copy(p.buf[place+n:], p.buf[place:p.end])
	for got := 0; got < n; {
		m, again, err := readNow(d.out, p.buf[place+got:place+n])
		switch {
		case again:
			return io.ErrUnexpectedEOF // not reached: it is in there
		case err != nil:
			return err
		}
		got += m
	}
	p.next += n
	p.end += n
	return nil
}
