package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// rawTCPConn is a TCP connection whose reads and writes are the raw system calls of the hot
// path (see call). TLS runs over it. One goroutine may read while another one writes.
type rawTCPConn struct {
	*net.TCPConn

	raw     syscall.RawConn
	tryRead func(fd uintptr) bool
	streak  streak
	into    []byte
	n       int
	err     error
	now     bool // a read does not wait: it returns errNothingYet
	// noData is how many bytes were read since the stream last got data of the TLS over it. It
	// is bounded from the stream's first read on: a handshake has limits of its own.
	noData  int
	bounded bool
	out     *rawWriter
	// follows says that more bytes are written at once. The kernel then holds back a
	// packet that is not full, and several records leave in one.
	follows atomic.Bool
}

// NewRawTCPConn returns conn with raw system calls, or conn itself if it is not plain TCP.
func NewRawTCPConn(conn net.Conn) net.Conn {
	raw := RawConnOf(conn)
	if raw == nil {
		return conn
	}
	c := &rawTCPConn{TCPConn: conn.(*net.TCPConn), raw: raw, out: newRawWriter(conn, nil)}
	c.tryRead = c.readOnce
	return c
}

// rawUnder returns the rawTCPConn that conn runs over, or nil.
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

// NetConn returns the TCP connection.
func (c *rawTCPConn) NetConn() net.Conn { return c.TCPConn }

func (c *rawTCPConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.bounded && c.noData > maxNoData {
		return 0, ErrNoData
	}
	c.into, c.n, c.err = b, 0, nil
	err := c.raw.Read(c.tryRead)
	c.into = nil
	c.noData += c.n
	if err == nil {
		err = c.failed("read", c.err)
	}
	return c.n, err
}

// hasData says that a stream has got data, or has begun. c may be nil.
func (c *rawTCPConn) hasData() {
	if c != nil {
		c.noData, c.bounded = 0, true
	}
}

// failed returns the error of a system call in the form of package net.
func (c *rawTCPConn) failed(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errNothingYet) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// readOnce is called by the poller. It returns false to wait until bytes have come.
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

// errNothingYet is a temporary error, so that TLS can read on after it, as after a
// deadline.
var errNothingYet net.Error = nothingYetError{}

type nothingYetError struct{}

func (nothingYetError) Error() string   { return "nothing has come" }
func (nothingYetError) Timeout() bool   { return true }
func (nothingYetError) Temporary() bool { return true }

func (c *rawTCPConn) Write(b []byte) (int, error) {
	n, err := c.out.write(b, c.follows.Load())
	if _, isCall := err.(*os.SyscallError); isCall { //nolint:errorlint // the poller wraps its own errors
		err = c.failed("write", err)
	}
	return n, err
}

// maxRecord is how many bytes of plaintext a TLS record has at most.
const maxRecord = 16 << 10

// putTLS writes b to dst, which is TLS over p.under. The last record is not held back, not
// even inside a frame: the kernel would hold a packet that is not full for tens of
// milliseconds.
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

// readRecords reads the records that have come after the one that was read, so that their
// bytes leave together. It does not wait. After an error the next read returns it again.
func (p *Stream) readRecords(b []byte) (n int) {
	p.over.now = true
	defer func() { p.over.now = false }()
	for n < len(b) {
		got, err := p.readRecord(b[n:])
		if n += got; got == 0 || err != nil {
			break
		}
	}
	return n
}
