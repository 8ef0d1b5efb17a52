package proxy

import (
	"errors"
	"io"
	"kproxy/internal/mark"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
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
	surely = 96 << 10
	// maxBehind is how much of what follows is copied into a duct, so that it
	// leaves together with what was spliced: the tail of an answer. A pipe takes
	// so much whole or not at all (PIPE_BUF).
	maxBehind = 4096
	// glanceSize is how much of a frame is looked at before it is spliced: a
	// request's header, or the head of an answer with a few topics.
	glanceSize = 512
)

func defaultDucts() int { return ductsPerCore * runtime.GOMAXPROCS(0) }

// inlet reads from a plain TCP connection. It takes a buffer, or a duct, only
// when the connection has something to read, and waits without. What it does in
// the poller's callback lies in fields, because a closure for each read would be
// an allocation for each read.
type inlet struct {
	raw        syscall.RawConn
	pipe       *pipe
	tryRead    func(fd uintptr) bool
	tryGlean   func(fd uintptr) bool
	trySplice  func(fd uintptr) bool
	discardNow func(fd uintptr)

	spell spell
	want  int   // bytes that are asked for
	n     int   // bytes that came
	duct  *duct // that they are in, after trySplice
	flush bool  // before trySplice may wait, what was passed has to be written
	err   error
	late  error // that glean has met, for the next read: a reset is told once
}

// newInlet returns nil if src is not plain TCP.
func newInlet(src net.Conn, p *pipe) *inlet {
	raw := rawTCP(src)
	if raw == nil {
		return nil
	}
	in := &inlet{raw: raw, pipe: p}
	in.tryRead, in.tryGlean, in.trySplice, in.discardNow = in.readOnce, in.gleanOnce, in.spliceOnce, in.discardAll
	return in
}

// outlet writes to a plain TCP connection.
type outlet struct {
	raw      syscall.RawConn
	trySend  func(fd uintptr) bool
	tryWrite func(fd uintptr) bool
	tryReady func(fd uintptr) bool
	tryRoomy func(fd uintptr) bool

	ahead  []byte // goes in front of what is in the duct, or alone
	duct   *duct
	left   int  // bytes in the duct; 0: none is held
	behind int  // how many of them were copied into it
	more   bool // more follows at once
	copied int  // bytes of ahead that are written
	room   int  // what the socket takes at once, as tryReady and tryRoomy have found it
	flags  int  // of trySend
	err    error
}

// newOutlet returns nil if dst is not plain TCP.
func newOutlet(dst net.Conn) *outlet {
	raw := rawTCP(dst)
	if raw == nil {
		return nil
	}
	out := &outlet{raw: raw}
	out.trySend, out.tryWrite, out.tryReady, out.tryRoomy = out.sendAll, out.writeOnce, out.ready, out.lookForRoom
	return out
}

func rawTCP(conn net.Conn) syscall.RawConn {
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
func (in *inlet) read(need int) (int, error) {
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
func (in *inlet) readOnce(fd uintptr) (done bool) {
	p := in.pipe
	flags := 0
	if p.glance {
		flags = unix.MSG_PEEK
	}
	var again bool
	in.n, again, in.err = recvNow(int(fd), p.room(in.want), flags)
	in.spell.took(again)
	if again && p.end == 0 {
		p.giveBack()
	}
	return !again
}

// discard takes n bytes that were looked at out of the socket. They are there: it
// does not wait, and a deadline that has passed, which may ask for something
// else, does not keep it from them.
func (in *inlet) discard(n int) error {
	in.want, in.err = n, nil
	if err := in.raw.Control(in.discardNow); err != nil {
		return err
	}
	return in.err
}

// discardAll drops what is wanted: TCP does so with what is received with
// MSG_TRUNC.
func (in *inlet) discardAll(fd uintptr) {
	for in.want > 0 {
		n, again, err := recvNow(int(fd), in.pipe.buf[:in.want], unix.MSG_TRUNC)
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
func (p *pipe) canSplice() bool { return p.ducts != nil && p.in != nil && p.out != nil }

// copyAll has nothing be spliced from now on.
func (p *pipe) copyAll() {
	p.misses.Add(1)
	p.ducts = nil
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
func (p *pipe) splice(n int) (taken int, err error) {
	in := p.in
	p.begun, p.filled = true, false
	in.want = min(n, max(p.chunk, firstChunk))
	if rest := n - in.want; 0 < rest && rest < minSplice {
		in.want -= minSplice // or the last few would be copied
	}
	for {
		if sure := p.sure(); in.want > sure {
			if err := p.out.raw.Write(p.out.tryReady); err != nil {
				return 0, &sideError{err: err}
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
			p.out.duct, p.out.left = in.duct, in.n
			return in.n, nil
		case !in.flush:
			return 0, nil
		}
		if err := p.flush(); err != nil {
			return 0, err
		}
	}
}

// sure is how large a chunk is put into a duct without a look at how much room dst has.
// Behind the first one, and behind one that did not find room, that is looked at once.
func (p *pipe) sure() int {
	if p.chunk > 0 && !p.takes {
		return minSplice
	}
	return surely
}

// spliceOnce is called by the poller; false waits until there is something to
// splice. While there is not, nothing that was passed may wait; but it is not
// written here, because nobody can close a connection while its poller waits for
// another.
func (in *inlet) spliceOnce(fd uintptr) (done bool) {
	p := in.pipe
	if in.duct = p.ducts.get(); in.duct == nil {
		p.misses.Add(1)
		return true
	}
	n, again, err := spliceNow(int(fd), in.duct.in, in.want, false)
	in.spell.took(again)
	if n > 0 {
		in.n = n
		return true
	}
	p.ducts.put(in.duct)
	switch {
	case refuses(err):
		p.copyAll()
	case !again:
		in.err = err
	case p.sent < p.next:
		in.flush = true
	default:
		p.rewind()
		p.giveBack()
		return false
	}
	return true
}

// holds reports whether there is something in a duct that was passed, and not
// yet written.
func (p *pipe) holds() bool { return p.out != nil && p.out.left > 0 }

// glean reads, behind what is in the duct, what has come, and does not wait.
func (p *pipe) glean(need int) {
	in := p.in
	p.glance = false
	in.want, in.n, in.err = need, 0, nil
	if err := in.raw.Read(in.tryGlean); err != nil {
		return // it comes again at the next read
	}
	p.end += in.n
	in.late = in.err
}

// gleanOnce is called by the poller. It never waits: the duct is not to be held.
func (in *inlet) gleanOnce(fd uintptr) (done bool) {
	in.n, _, in.err = recvNow(int(fd), in.pipe.room(in.want), 0)
	return true
}

// pourBehind empties the duct into dst, and with it what was passed since it was
// filled, as far as the duct takes it.
func (p *pipe) pourBehind() error {
	out := p.out
	if behind := p.buf[p.sent:p.next]; 0 < len(behind) && len(behind) <= maxBehind {
		if n, _, err := writeNow(out.duct.in, behind); err == nil {
			out.left += n
			out.behind = n
			p.sent += n
		}
	}
	out.more = p.sent < p.next
	return p.pour(nil, p.sent)
}

// pourAhead empties the duct into dst, behind what was passed before it was
// filled.
func (p *pipe) pourAhead() error { return p.pour(p.buf[p.sent:p.next], p.next) }

// pour empties the duct into dst, behind ahead, which is the front of what is in
// buf. What dst does not take is put into buf at the place where it belongs.
func (p *pipe) pour(ahead []byte, place int) error {
	out := p.out
	d, n := out.duct, out.left
	out.ahead, out.copied, out.err = ahead, 0, nil
	err := out.raw.Write(out.tryWrite)
	if err == nil {
		err = out.err
	}
	left, behind := out.left, out.behind
	out.ahead, out.duct, out.left, out.behind, out.more = nil, nil, 0, 0, false
	p.sent += out.copied
	gone := behind - min(behind, left) // of what was copied into the duct, which leaves last
	p.copied.Add(int64(out.copied + gone))
	p.spliced.Add(int64(n - left - gone))
	p.active.Store(int64(mark.Now()))
	ducts := p.ducts
	if refuses(err) {
		p.copyAll() // what it has not taken, too
		err = nil
	}
	if err != nil {
		ducts.destroy(d)
		return &sideError{err: err}
	}
	if left == 0 {
		ducts.put(d)
		p.rewind()
		p.takes = p.chunk > 0
		if n >= p.chunk {
			p.chunk = min(max(2*p.chunk, minChunk), ducts.size)
		}
		return nil
	}
	p.chunk, p.takes = minChunk, false
	if err := p.takeBack(d, left, place); err != nil {
		ducts.destroy(d)
		return &sideError{reading: true, err: err}
	}
	ducts.put(d)
	return p.flush() // waits for dst
}

// roomy reports whether dst has room, which is a third of its socket's buffer.
func (p *pipe) roomy() bool {
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

func (out *outlet) lookForRoom(fd uintptr) (done bool) {
	_ = out.ready(fd) // it is not waited for
	return true
}

// ready is called by the poller; false waits until the socket has room. A large
// chunk is put into a duct only then, and no larger one than finds room.
func (out *outlet) ready(fd uintptr) (done bool) {
	if !hasRoom(int(fd)) {
		return false
	}
	out.room = roomOf(int(fd))
	return true
}

// write writes b, and waits while there is no room for it. If more follows at
// once, the kernel may keep what fills no packet.
func (out *outlet) write(b []byte, follows bool) (n int, err error) {
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
func (out *outlet) sendAll(fd uintptr) (done bool) {
	again := out.send(fd, out.flags)
	return !again
}

// writeOnce is called by the poller. It never waits: the duct is not to be held.
func (out *outlet) writeOnce(fd uintptr) (done bool) {
	if again := out.send(fd, unix.MSG_MORE); again || out.err != nil {
		return true
	}
	for out.left > 0 {
		n, again, err := spliceNow(out.duct.out, int(fd), out.left, out.more)
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
func (out *outlet) send(fd uintptr, flags int) (again bool) {
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
func (p *pipe) takeBack(d *duct, n, place int) error {
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
