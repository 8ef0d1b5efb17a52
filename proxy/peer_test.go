package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"kproxy/internal/wire"
)

const (
	// patience is how long a step of a test may take before the test fails.
	patience = 30 * time.Second
	// moment is how long a test waits to see that something does not happen.
	moment = 50 * time.Millisecond
	// stall is longer than a busy machine keeps a session from its work. It is the least
	// time limit of a session that has to do something first.
	stall = 1500 * time.Millisecond
	// maxFrame is more than any frame of a test has.
	maxFrame = 64 << 20
)

// peer is one end of a connection to the proxy, which a test moves step by step.
// A step that fails, or takes too long, fails the test; so the methods are for
// the test's own goroutine, those that return an error excepted.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Helper()
	return &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// serveEach serves each connection that ln accepts. The test's end closes ln, and
// waits for all of them.
func serveEach(t *testing.T, ln net.Listener, serve func(net.Conn)) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
}

// write sends b.
func (p *peer) write(b []byte) {
	p.t.Helper()
	if err := p.tryWrite(b); err != nil {
		p.t.Fatalf("write %d bytes: %v", len(b), err)
	}
}

func (p *peer) tryWrite(b []byte) error {
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := p.conn.Write(b)
	return err
}

// tryWriteBytes sends b with a write for each byte.
func (p *peer) tryWriteBytes(b []byte) error {
	for i := range b {
		if err := p.tryWrite(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// trickle sends b in pieces of n bytes, one each interval.
func (p *peer) trickle(b []byte, n int, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for len(b) > 0 {
		<-tick.C
		n = min(n, len(b))
		if err := p.tryWrite(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// read returns the next n bytes.
func (p *peer) read(n int) []byte {
	p.t.Helper()
	b, err := p.tryRead(n)
	if err != nil {
		p.t.Fatalf("read %d bytes: got %d, %v", n, len(b), err)
	}
	return b
}

func (p *peer) tryRead(n int) ([]byte, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, n)
	got, err := io.ReadFull(p.in, b)
	return b[:got], err
}

// frame returns the next frame, size field included.
func (p *peer) frame() []byte {
	p.t.Helper()
	b, err := p.tryFrame()
	if err != nil {
		p.t.Fatalf("read a frame: %v", err)
	}
	return b
}

func (p *peer) tryFrame() ([]byte, error) {
	size, err := p.tryRead(wire.SizeLen)
	if err != nil {
		return nil, err
	}
	if n := wire.Size(size); n < 0 || n > maxFrame {
		return size, fmt.Errorf("a frame of %d bytes", n)
	}
	rest, err := p.tryRead(int(wire.Size(size)))
	return append(size, rest...), err
}

// wants fails the test unless the next bytes are want.
func (p *peer) wants(what string, want []byte) {
	p.t.Helper()
	if got := p.read(len(want)); !bytes.Equal(got, want) {
		p.t.Fatalf("%s: got %s, want %s", what, excerpt(got), excerpt(want))
	}
}

// silent fails the test if anything comes within a moment, even an end.
func (p *peer) silent() {
	p.t.Helper()
	p.silentFor(moment)
}

// silentFor is silent for that long.
func (p *peer) silentFor(d time.Duration) {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(d))
	switch b, err := p.in.Peek(1); {
	case len(b) > 0:
		p.t.Fatal("bytes came where none were expected")
	case !errors.Is(err, os.ErrDeadlineExceeded):
		p.t.Fatalf("the connection ended where it was not expected: %v", err)
	}
}

// ended waits for the end of the other side, and returns the bytes before it. err is nil for
// a clean end.
func (p *peer) ended() (rest []byte, err error) {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	rest, err = io.ReadAll(p.in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the connection did not end; read %d bytes", len(rest))
	}
	return rest, err
}

// eof fails the test unless the other side ends now, and cleanly.
func (p *peer) eof() {
	p.t.Helper()
	if rest, err := p.ended(); err != nil || len(rest) > 0 {
		p.t.Fatalf("end: got %s and error %v, want nothing and a clean end", excerpt(rest), err)
	}
}

// closeWrite ends this side.
func (p *peer) closeWrite() {
	p.t.Helper()
	if err := p.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) close() { _ = p.conn.Close() }

// reset breaks the connection.
func (p *peer) reset() {
	raw := socket(p.conn)
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
}

// socket is the connection under TLS, if that is what conn is.
func socket(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// excerpt shows the front of b.
func excerpt(b []byte) string {
	return fmt.Sprintf("%d bytes [% x]", len(b), b[:min(len(b), 64)])
}
