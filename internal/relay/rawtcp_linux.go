package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// rawTCPConn is a TCP connection whose reads and writes are the system calls of the
// hot path (see call): what TLS runs over. One goroutine may read it, and one write.
type rawTCPConn struct {
	*net.TCPConn

	raw     syscall.RawConn
	tryRead func(fd uintptr) bool
	streak  streak
	into    []byte
	n       int
	err     error
	now     bool // a read does not wait; its error is errNothingYet then
	out     *rawWriter
	// follows says that more is written at once. The kernel then keeps what fills
	// no packet, and several records leave in one.
	follows atomic.Bool
}

// newRawTCPConn returns conn itself if it is not plain TCP.
func NewRawTCPConn(conn net.Conn) net.Conn {
	raw := RawConnOf(conn)
	if raw == nil {
		return conn
	}
	c := &rawTCPConn{TCPConn: conn.(*net.TCPConn), raw: raw, out: newRawWriter(conn)}
	c.tryRead = c.readOnce
	return c
}

// rawUnder is the one under conn, or nil.
func rawUnder(conn net.Conn) *rawTCPConn {
	for {
		if raw, ok := conn.(*rawTCPConn); ok {
			return raw
		}
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = over.NetConn()
	}
}

// NetConn is the connection under it.
func (c *rawTCPConn) NetConn() net.Conn { return c.TCPConn }

func (c *rawTCPConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.into, c.n, c.err = b, 0, nil
	err := c.raw.Read(c.tryRead)
	c.into = nil
	if err == nil {
		err = c.failed("read", c.err)
	}
	return c.n, err
}

// failed is an error of a system call as package net has it.
func (c *rawTCPConn) failed(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errNothingYet) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// readOnce is called by the poller; false waits until there is something to read.
func (c *rawTCPConn) readOnce(fd uintptr) (done bool) {
	var again bool
	c.n, again, c.err = recvNow(int(fd), c.into, 0)
	c.streak.count(again)
	if again && c.now {
		c.err = errNothingYet
		return true
	}
	return !again
}

// errNothingYet is temporary, so that TLS goes on behind it as behind a deadline.
var errNothingYet net.Error = nothingYetError{}

type nothingYetError struct{}

func (nothingYetError) Error() string   { return "nothing has come" }
func (nothingYetError) Timeout() bool   { return true }
func (nothingYetError) Temporary() bool { return true }

func (c *rawTCPConn) Write(b []byte) (int, error) {
	n, err := c.out.write(b, c.follows.Load())
	if _, isCall := err.(*os.SyscallError); isCall { //nolint:errorlint // not one that the poller has wrapped
		err = c.failed("write", err)
	}
	return n, err
}

// maxRecord is how much of what is written a TLS record takes.
const maxRecord = 16 << 10

// putTLS writes b to dst, which is TLS over p.under. Its last record never waits for
// more, not even inside a frame: what fills no packet would, for tens of milliseconds.
func (p *Stream) putTLS(b []byte) (int, error) {
	var n int
	if whole := (len(b) - 1) / maxRecord * maxRecord; whole > 0 {
		p.under.follows.Store(true)
		var err error
		if n, err = p.dst.Write(b[:whole]); err != nil {
			return n, err
		}
	}
	p.under.follows.Store(false)
	last, err := p.dst.Write(b[n:])
	return n + last, err
}

// gather reads the records that have come behind the one that was read, and does
// not wait: what they hold leaves together. An error comes again at the next read.
func (p *Stream) readRecords(b []byte) (n int) {
	p.over.now = true
	defer func() { p.over.now = false }()
	for n < len(b) {
		got, err := p.src.Read(b[n:])
		if n += got; got == 0 || err != nil {
			break
		}
	}
	return n
}
