package simulate

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"kproxy/internal/wait"
)

// link is one connection: two directions under one lock.
//
//	near.Write ─▶ flight (delayed, in order) ─▶ arrived ─▶ far.Read
//	near.Read  ◀─ arrived ◀─ (delayed, in order) flight ◀─ far.Write
type link struct {
	weather Weather
	clock   *clock
	mu      sync.Mutex // guards everything below, and both directions
	changed sync.Cond
	broken  bool // reset: bytes that have arrived can be read, and nothing else happens
}

// direction is one direction of a link.
type direction struct {
	random  *rand.Rand
	flight  []piece
	arrived []byte
	unread  int  // bytes sent and not read
	ended   bool // the writer has ended it
	over    bool // that has arrived
	deaf    bool // the reader is closed
}

// piece is a part of a stream on its way.
type piece struct {
	at   time.Time // of its arrival
	b    []byte
	last bool // the stream's end
}

// conn is one end of a link.
type conn struct {
	link          *link
	in, out       *direction
	local, remote net.Addr
	closed        bool
	hard          bool // Close resets
	readBy        time.Time
	writeBy       time.Time
	onClose       func()
}

// connect returns both ends of a connection.
func connect(w Weather, clock *clock, local, remote net.Addr, onClose func()) (near, far *conn) {
	l := &link{weather: w, clock: clock}
	l.changed.L = &l.mu
	there, back := &direction{random: random(w.Seed, 1)}, &direction{random: random(w.Seed, 2)}
	near = &conn{link: l, in: back, out: there, local: local, remote: remote, onClose: onClose}
	far = &conn{link: l, in: there, out: back, local: remote, remote: local, onClose: onClose}
	return near, far
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read returns bytes that have arrived: often fewer than there are.
func (c *conn) Read(b []byte) (int, error) {
	w := c.link
	w.mu.Lock()
	defer w.mu.Unlock()
	c.stall(c.in)
	for {
		c.in.arrive(w.clock.now())
		switch {
		case c.closed:
			return 0, c.fails("read", net.ErrClosed)
		case isPast(c.readBy):
			return 0, c.fails("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(c.in.arrived) > 0:
			n := copy(b, c.in.arrived[:c.in.cut(w.weather, len(c.in.arrived))])
			c.in.arrived = c.in.arrived[n:]
			c.in.unread -= n
			w.changed.Broadcast()
			return n, nil
		case c.in.over:
			return 0, io.EOF
		case w.broken:
			return 0, c.fails("read", os.NewSyscallError("read", syscall.ECONNRESET))
		}
		w.wait(c.readBy, w.clock.when(c.in.next()))
	}
}

// Write sends bytes, in pieces, as far as the window has room for them.
func (c *conn) Write(b []byte) (n int, err error) {
	w := c.link
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case c.closed:
			return n, c.fails("write", net.ErrClosed)
		case w.broken:
			return n, c.fails("write", os.NewSyscallError("write", syscall.ECONNRESET))
		case c.out.ended:
			return n, c.fails("write", os.NewSyscallError("write", syscall.EPIPE))
		case isPast(c.writeBy):
			return n, c.fails("write", os.ErrDeadlineExceeded)
		case n == len(b):
			return n, nil
		case c.out.deaf: // the peer responds with a reset
			w.reset()
			return n, c.fails("write", os.NewSyscallError("write", syscall.EPIPE))
		}
		room := w.weather.Window - c.out.unread
		if len(b) <= alertSize { // TLS has a lock while it writes its alert: in a bubble, time then stands still
			room += alertRoom
		}
		if room <= 0 {
			w.wait(c.writeBy)
			continue
		}
		size := c.out.cut(w.weather, min(len(b)-n, room))
		c.out.send(w.weather, piece{b: append([]byte(nil), b[n:n+size]...)})
		n += size
		w.changed.Broadcast()
	}
}

const (
	alertSize = 64
	alertRoom = 4 << 10
)

// CloseWrite ends the direction in which this end writes, behind its bytes.
func (c *conn) CloseWrite() error {
	w := c.link
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case c.closed:
		return c.fails("close", net.ErrClosed)
	case w.broken:
		return c.fails("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	c.end()
	return nil
}

func (c *conn) end() {
	if !c.out.ended {
		c.out.send(c.link.weather, piece{last: true})
		c.out.ended = true
		c.link.changed.Broadcast()
	}
}

// SetLinger has Close reset the connection, if sec is 0.
func (c *conn) SetLinger(sec int) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.hard = sec == 0
	return nil
}

// Close closes the connection. It resets it if bytes have arrived that were not read.
func (c *conn) Close() error {
	w := c.link
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.closed {
		return c.fails("close", net.ErrClosed)
	}
	c.in.arrive(w.clock.now())
	if c.hard || len(c.in.arrived) > 0 {
		w.reset()
		c.out.drop(w.clock.now())
	} else {
		c.end()
	}
	c.closed, c.in.deaf = true, true
	w.changed.Broadcast()
	c.onClose()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error      { return c.set(&t, &t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.set(&t, nil) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(nil, &t) }

func (c *conn) set(read, write *time.Time) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if read != nil && (read.IsZero() || read.After(time.Now())) { // a wake is never late
		c.stall(c.in)
	}
	if c.closed {
		return c.fails("set", net.ErrClosed)
	}
	if read != nil {
		c.readBy = *read
	}
	if write != nil {
		c.writeBy = *write
	}
	c.link.changed.Broadcast()
	return nil
}

func (c *conn) fails(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func isPast(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// stall holds the goroutine up, now and then, as the scheduler does. Whatever the goroutine has
// read before this call can have changed behind it. The caller holds mu.
func (c *conn) stall(d *direction) {
	most := c.link.weather.Stall
	if most <= 0 || d.random.IntN(6) > 0 {
		return
	}
	pause := time.Duration(d.random.Int64N(int64(most)))
	c.link.mu.Unlock()
	defer c.link.mu.Lock()
	wait.Sleep(context.Background(), pause)
}

// reset breaks the connection. Bytes that have not arrived are lost. The caller holds mu.
func (w *link) reset() {
	w.broken = true
	w.changed.Broadcast()
}

// wait waits until something changes, or until the first of some times. The caller holds mu.
func (w *link) wait(times ...time.Time) {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		defer time.AfterFunc(time.Until(first), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed.Broadcast()
		}).Stop()
	}
	w.changed.Wait()
}

// send puts a piece on its way. It arrives behind the pieces before it.
func (d *direction) send(w Weather, p piece) {
	p.at = time.Now()
	if w.Delay > 0 && d.random.IntN(2) == 0 {
		p.at = p.at.Add(time.Duration(d.random.Int64N(int64(w.Delay))))
	}
	if n := len(d.flight); n > 0 && d.flight[n-1].at.After(p.at) {
		p.at = d.flight[n-1].at
	}
	d.flight = append(d.flight, p)
	d.unread += len(p.b)
}

// arrive takes the pieces that have arrived out of the flight.
func (d *direction) arrive(now time.Time) {
	n := 0
	for ; n < len(d.flight) && !d.flight[n].at.After(now); n++ {
		d.arrived = append(d.arrived, d.flight[n].b...)
		d.over = d.over || d.flight[n].last
	}
	d.flight = d.flight[n:]
}

// next is when the next piece arrives; zero: none is on its way.
func (d *direction) next() time.Time {
	if len(d.flight) == 0 {
		return time.Time{}
	}
	return d.flight[0].at
}

// drop loses the bytes that have not arrived.
func (d *direction) drop(now time.Time) {
	d.arrive(now)
	d.flight = nil
}

// cut returns the length of the next piece of n bytes: one time in four a short one.
func (d *direction) cut(w Weather, n int) int {
	if w.Piece > 0 && d.random.IntN(4) == 0 {
		return min(n, 1+d.random.IntN(w.Piece))
	}
	return n
}
