package via

import (
	"net"
	"os"
	"sync"
	"time"
)

// Stream is a connection without deadlines: a channel of an SSH connection, or the
// two pipes of a command. Read and Write are called by one goroutine each; Close
// ends both, and may wait for the peer.
type Stream interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
}

// chunk is the largest read from a stream, or write to it: the largest packet of SSH.
const chunk = 32 << 10

// conn gives a stream deadlines. A call to a stream cannot be cancelled, so two
// goroutines make them, in and out; Read and Write wait for these, or for the deadline,
// or for Close.
//
//	Read  ◀── chunks ── in  ◀── stream.Read
//	Write ──▶ orders ── out ──▶ stream.Write, CloseWrite
//
// One chunk is under way in each direction, so the stream's own flow control holds a peer
// back. Nothing is lost at a deadline: the bytes that in has read are there for the next
// Read, and the bytes that a Write has counted are written later.
type conn struct {
	stream        Stream
	local, remote addr
	owner         *Streams
	closed        chan struct{}
	close         sync.Once
	readBy        deadline
	writeBy       deadline

	reading sync.Mutex // one Read at a time; guards the following
	left    []byte     // of the last chunk
	readErr error      // in's final error
	chunks  chan read  // from in, valid until next
	next    chan struct{}

	writing  sync.Mutex // one Write at a time; guards the following
	buffer   []byte     // out's while pending
	pending  bool
	writeErr error
	orders   chan order // to out; room for the one that is pending and an end
	written  chan error // from out, for each order that is no end
}

// read is the result of one Read of the stream.
type read struct {
	data []byte
	err  error
}

// order is bytes to write, or the end of them.
type order struct {
	data []byte
	end  bool
}

// in reads the stream to its end.
func (c *conn) in() {
	buffer := make([]byte, chunk)
	for {
		n, err := c.stream.Read(buffer)
		select {
		case c.chunks <- read{buffer[:n], err}:
		case <-c.closed:
			return
		}
		if err != nil {
			return
		}
		select {
		case <-c.next:
		case <-c.closed:
			return
		}
	}
}

// out writes the bytes of Write, and ends the sending side on request.
func (c *conn) out() {
	for {
		select {
		case o := <-c.orders:
			if o.end {
				_ = c.stream.CloseWrite() // reading reports a peer that is gone
				return
			}
			_, err := c.stream.Write(o.data)
			c.written <- err // there is room: one order is pending at a time
		case <-c.closed:
			return
		}
	}
}

// Read is that of net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	passed := c.readBy.wait()
	switch {
	case isDone(c.closed):
		return 0, c.opError("read", net.ErrClosed)
	case isDone(passed):
		return 0, c.opError("read", os.ErrDeadlineExceeded)
	case len(p) == 0:
		return 0, nil
	}
	for len(c.left) == 0 {
		if c.readErr != nil {
			return 0, c.readErr
		}
		select {
		case r := <-c.chunks:
			c.left, c.readErr = r.data, r.err
			c.wantNext()
		case <-passed:
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case <-c.closed:
			return 0, c.opError("read", net.ErrClosed)
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	c.wantNext()
	return n, nil
}

// wantNext gives the buffer back to in once it is read.
func (c *conn) wantNext() {
	if len(c.left) == 0 && c.readErr == nil {
		c.next <- struct{}{} // there is room: once for each chunk
	}
}

// Write is that of net.Conn. It returns when the stream has taken everything. At a
// deadline, n includes bytes that will still be written.
func (c *conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		if err := c.settle(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		k := copy(c.buffer, p[n:])
		c.orders <- order{data: c.buffer[:k]}
		c.pending = true
		n += k
	}
}

// settle waits until out has nothing to write.
func (c *conn) settle() error {
	passed := c.writeBy.wait()
	switch {
	case isDone(c.closed):
		return c.opError("write", net.ErrClosed)
	case isDone(passed):
		return c.opError("write", os.ErrDeadlineExceeded)
	}
	if c.pending {
		select {
		case err := <-c.written:
			c.pending = false
			if err != nil {
				c.writeErr = err
			}
		case <-passed:
			return c.opError("write", os.ErrDeadlineExceeded)
		case <-c.closed:
			return c.opError("write", net.ErrClosed)
		}
	}
	return c.writeErr
}

// CloseWrite ends the sending side after all written bytes. It does not wait for these,
// but it waits for a Write that is under way.
func (c *conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if isDone(c.closed) {
		return c.opError("close write", net.ErrClosed)
	}
	if c.writeErr == nil {
		c.writeErr = c.opError("write", net.ErrClosed)
		c.orders <- order{end: true}
	}
	return nil
}

// Close ends the connection without waiting for the peer, as TCP's does.
func (c *conn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.close.Do(func() {
		close(c.closed)
		go c.owner.bury(c)
		err = nil
	})
	return err
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.remote.network, Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr names the carrier of the connection.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the host:port that was dialled, unresolved.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is that of net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is that of net.Conn: one in the past wakes a Read, a zero one
// lets Reads work again.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readBy, t) }

// SetWriteDeadline is that of net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, t) }

func (c *conn) setDeadline(d *deadline, t time.Time) error {
	if isDone(c.closed) {
		return c.opError("set deadline", net.ErrClosed)
	}
	d.set(t)
	return nil
}

// addr is an end of a connection that is no socket.
type addr struct{ network, text string }

// Network is ssh or exec.
func (a addr) Network() string { return a.network }

// String is host:port, or the proxy.
func (a addr) String() string { return a.text }

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deadline is a moment that can be moved while others wait for it. passed is
// closed when it has come; a moment that is set later has another channel if the
// first was closed.
type deadline struct {
	mu     sync.Mutex
	passed chan struct{}
	timer  *time.Timer // closes passed; nil: none runs, or it has closed it
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isDone(d.passed) {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		close(d.passed)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() { d.expire(&timer) })
	d.timer = timer
}

// expire closes passed, unless the timer that calls it was stopped too late. It
// takes the timer's address because the timer may run before it has its name.
func (d *deadline) expire(timer **time.Timer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == *timer && !isDone(d.passed) {
		close(d.passed)
		d.timer = nil
	}
}
