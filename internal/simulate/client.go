package simulate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strconv"
	"sync"
)

// client is a client with one connection. One goroutine does its steps, another one reads and
// judges the responses.
type client struct {
	run    *run
	record *record
	conn   net.Conn
	rest   []byte // of a request that was begun

	steps chan Step
	mu    sync.Mutex // guards the following
	wakes sync.Cond
	still bool // it reads nothing
}

// maxSteps bounds the steps of a client that have not been done.
const maxSteps = 256

// newClient returns a client that has not connected yet.
func newClient(r *run, number int) *client {
	c := &client{run: r, record: &record{number: number}, steps: make(chan Step, maxSteps)}
	c.wakes.L = &c.mu
	return c
}

// live does the steps of the client until there are no more.
func (c *client) live() {
	for step := range c.steps {
		c.step(step)
	}
}

func (c *client) step(step Step) {
	if step.Verb == "dials" {
		c.dial(step)
		return
	}
	if c.conn == nil {
		return
	}
	switch step.Verb {
	case "sends":
		c.send(step, 1)
	case "begins":
		c.send(step, 0.4)
	case "half-closes":
		c.record.set(func() { c.record.halfClosed = true })
		_ = c.conn.(interface{ CloseWrite() error }).CloseWrite() // both networks have it; a connection that fails has ended
	case "closes":
		c.record.set(func() { c.record.closed = true })
		_ = c.conn.Close()
	case "resets":
		c.record.set(func() { c.record.closed, c.record.reset = true, true })
		_ = c.conn.(interface{ SetLinger(sec int) error }).SetLinger(0) // likewise
		_ = c.conn.Close()
	}
}

// dial connects, and begins to read.
func (c *client) dial(step Step) {
	if c.conn != nil {
		return
	}
	listener, node := step.word(0), int32(-1)
	if len(step.Args) > 1 {
		node = int32(step.number(1))
	}
	from := "127.0.0." + strconv.Itoa(2+c.record.number%3)
	conn, err := c.run.Outside.DialFrom(context.Background(), from, advertisedAt(listener, node))
	if err != nil {
		return // no socket is there: a reload, or a drain
	}
	c.conn = conn
	c.record.listener, c.record.node, c.record.address = listener, node, conn.LocalAddr().String()
	c.run.records.add(c.record)
	c.run.reading.Go(c.read)
}

// send writes requests, in one write. part says how much of the last one.
func (c *client) send(step Step, part float64) {
	count, size := 1, 100
	if len(step.Args) > 1 {
		count = step.number(1)
	}
	if len(step.Args) > 2 {
		size = step.number(2)
	}
	if part < 1 {
		count = 1
	}
	frames := c.rest
	c.rest = nil
	for range count {
		frames = append(frames, requestFrame(c.record.clientID(), c.record.sends(step.word(0), size))...)
	}
	if part < 1 {
		n := int(math.Ceil(float64(len(frames)) * part))
		frames, c.rest = frames[:n:n], frames[n:]
	}
	n, _ := c.conn.Write(frames) // a connection that fails has ended
	c.record.set(func() {
		c.record.written += n
		c.record.inside = len(c.rest) > 0
		c.record.began = c.record.began || c.record.inside
	})
}

// quiet has the client read nothing, or read again.
func (c *client) quiet(still bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = still
	c.wakes.Broadcast()
	if still {
		c.record.set(func() { c.record.paused = true })
	}
}

// Read is that of the connection, while the client reads.
func (c *client) Read(b []byte) (int, error) {
	c.mu.Lock()
	for c.still {
		c.wakes.Wait()
	}
	c.mu.Unlock()
	return c.conn.Read(b)
}

// read judges responses until the connection ends, and closes it then.
func (c *client) read() {
	in := bufio.NewReader(c)
	listener := c.record.listener
	for {
		frame, inside, err := readFrame(in)
		if err != nil {
			c.record.set(func() {
				switch {
				case errors.Is(err, io.EOF) && !inside:
					c.record.end = "eof"
				case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
					c.record.end = "inside"
				default:
					c.record.end = "error"
				}
			})
			_ = c.conn.Close() // it may be closed
			return
		}
		sent, ok := c.record.next()
		if !ok {
			c.run.fail("client %d: a response that no request was sent for", c.record.number)
			continue
		}
		if err := judge(sent, frame, func(node int32) (string, int32) { return advertised(listener, node) }); err != nil {
			c.run.fail("client %d: the response to %s, request %d: %v", c.record.number, sent.name, sent.correlationID, err)
		}
		c.record.set(func() { c.record.received++ })
	}
}
