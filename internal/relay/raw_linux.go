package relay

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

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
	tryRoomy func(fd uintptr)

	ahead  []byte // is written before the bytes in the pipe, or alone
	pipe   *kernelPipe
	left   int  // bytes in the pipe; 0: no pipe is held
	behind int  // how many of them were copied into it
	more   bool // more bytes follow at once
	copied int  // bytes of ahead that are written
	room   int  // bytes that the socket takes at once, from tryReady
	seen   int  // the same, from tryRoomy
	flags  int  // of trySend
	err    error

	waiting *atomic.Bool // set while it waits for room; nil: it is not noted
	waited  bool         // it is set
}

// newRawWriter returns nil if dst is not plain TCP.
func newRawWriter(dst net.Conn, waiting *atomic.Bool) *rawWriter {
	raw := RawConnOf(dst)
	if raw == nil {
		return nil
	}
	out := &rawWriter{raw: raw, waiting: waiting}
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

// discardAll drops the wanted bytes: TCP discards bytes that are received with MSG_TRUNC. A socket in
// an eBPF sockmap copies them all the same: each to its own place, where it is already.
func (in *rawReader) discardAll(fd uintptr) {
	for b := in.stream.buf[:in.want]; len(b) > 0; {
		n, again, err := recvNow(int(fd), b, unix.MSG_TRUNC)
		if again {
			err = io.ErrUnexpectedEOF // not reached: peeked bytes are there
		}
		if err != nil {
			in.err = err
			return
		}
		b = b[n:]
	}
}

// awaitRoom waits until the socket has room, and returns how much: a large chunk must not be
// larger.
func (out *rawWriter) awaitRoom() (room int, err error) {
	err = out.raw.Write(out.tryReady)
	out.proceed()
	return out.room, err
}

// ready is called by the poller. It returns false to wait until the socket has room.
func (out *rawWriter) ready(fd uintptr) (done bool) {
	if !hasRoom(int(fd)) {
		out.wait()
		return false
	}
	out.room = roomOf(int(fd))
	return true
}

// lookForRoom runs beside writes of another goroutine, which may wait for the peer.
func (out *rawWriter) lookForRoom(fd uintptr) {
	if out.seen = 0; hasRoom(int(fd)) {
		out.seen = roomOf(int(fd))
	}
}

// wait notes that the poller is about to wait for room.
func (out *rawWriter) wait() {
	if out.waiting != nil {
		out.waited = true
		out.waiting.Store(true)
	}
}

// proceed notes that a write that may have waited has ended.
func (out *rawWriter) proceed() {
	if out.waited {
		out.waited = false
		out.waiting.Store(false)
	}
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
	out.proceed()
	n, out.ahead = out.copied, nil
	return n, err
}

// sendAll is called by the poller. It returns false to wait until the socket has room.
func (out *rawWriter) sendAll(fd uintptr) (done bool) {
	if again := out.send(fd, out.flags); again {
		out.wait()
		return false
	}
	return true
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
