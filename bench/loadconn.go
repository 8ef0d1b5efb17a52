//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"kproxy/internal/wire"
)

// loadConn is a connection of the load generator: it sends one prepared frame,
// with a new correlation id each time.
type loadConn struct {
	load  *load
	conn  net.Conn
	in    *bufio.Reader
	frame []byte
	sent  int32 // requests
	read  int32 // responses
}

func newLoadConn(l *load, conn net.Conn) *loadConn {
	size := readBuffer
	if k := l.job.Work.Kind; k == churn || k == idle {
		size = 4 * kib // there are many, and their responses are short
	}
	return &loadConn{load: l, conn: conn, in: bufio.NewReaderSize(conn, size), frame: requestFrame(l.job.Work)}
}

// send sends a request; its id is how many there were before.
func (c *loadConn) send() error {
	binary.BigEndian.PutUint32(c.frame[wire.RequestPrefixLen-4:], uint32(c.sent))
	c.sent++
	_, err := c.conn.Write(c.frame)
	return err
}

var errOutOfOrder = errors.New("a response to another request")

// receive reads a response to its end, and returns its length.
func (c *loadConn) receive() (int, error) {
	head, err := c.in.Peek(wire.ResponsePrefixLen)
	if err != nil {
		return 0, err
	}
	if id := wire.CorrelationID(head); id != c.read {
		return 0, fmt.Errorf("%w: id %d, want %d", errOutOfOrder, id, c.read)
	}
	c.read++
	n := wire.SizeLen + int(wire.Size(head))
	if n < wire.ResponsePrefixLen {
		return 0, io.ErrUnexpectedEOF
	}
	_, err = c.in.Discard(n)
	return n, err
}

// closedLoop keeps as many requests in flight as the workload says, until ctx
// ends.
func (c *loadConn) closedLoop(ctx context.Context) error {
	sentAt := make([]time.Time, c.load.job.Work.InFlight)
	for i := range sentAt {
		sentAt[i] = time.Now()
		if err := c.send(); err != nil {
			return c.fail(ctx, err)
		}
	}
	for oldest := 0; ; oldest = (oldest + 1) % len(sentAt) {
		n, err := c.receive()
		if err != nil {
			return c.fail(ctx, err)
		}
		c.load.responded(n+len(c.frame), time.Since(sentAt[oldest]))
		sentAt[oldest] = time.Now()
		if err := c.send(); err != nil {
			return c.fail(ctx, err)
		}
	}
}

// fail is err, unless the load itself has ended.
func (c *loadConn) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("after %d responses: %w", c.read, err)
}

// askOnce sends a request and reads its response.
func (c *loadConn) askOnce() error {
	began := time.Now()
	if err := c.send(); err != nil {
		return err
	}
	n, err := c.receive()
	if err == nil {
		c.load.responded(n+len(c.frame), time.Since(began))
	}
	return err
}
