//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// brokerJob is the fake broker's configuration.
type brokerJob struct {
	Listen    string `json:"listen"`
	Advertise string `json:"advertise"`
	// Keys are those of TLS; without them it is plaintext.
	Keys *keyFiles `json:"keys,omitempty"`
}

// fakeBroker responds to each request with a frame that it prepared for the first such
// request. It recognises a request by its bytes, so that it decodes one of each kind on
// each connection.
type fakeBroker struct {
	self    node
	tls     *tls.Config // nil: plaintext
	answers sync.Map    // of a request's bytes without its correlation id, as a string: prepare, run once
}

// response is a frame without size and correlation id. It is shared, and never
// written to.
type response struct {
	size [wire.SizeLen]byte
	rest []byte // behind the correlation id
}

const (
	// readBuffer holds any request except a large Produce request, which is not decoded.
	readBuffer = 64 * kib
	// inOnePiece is the largest response that is copied and written in one piece. A copy
	// of this size costs less than a second iovec.
	inOnePiece = 16 * kib
	// mostRequest limits the size of a request in memory. No workload sends as much.
	mostRequest = 16 * mib
)

// serveBroker runs until ctx ends, or its parent, whose end kills it.
func serveBroker(ctx context.Context, in io.Reader, _ io.Writer) error {
	var job brokerJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("the broker's job: %w", err)
	}
	b, err := newFakeBroker(job.Advertise)
	if err != nil {
		return err
	}
	if b.tls, err = job.Keys.server(); err != nil {
		return err
	}
	return serveConns(ctx, job.Listen, b.serve)
}

func newFakeBroker(advertise string) (*fakeBroker, error) {
	addr, err := net.ResolveTCPAddr("tcp", advertise)
	if err != nil {
		return nil, fmt.Errorf("advertise: %w", err)
	}
	return &fakeBroker{self: node{addr.IP.String(), int32(addr.Port)}}, nil
}

// serveConns hands each connection to a goroutine of its own, until ctx ends.
// It does not wait for them: they end with the process.
func serveConns(ctx context.Context, address string, serve func(*net.TCPConn)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		go serve(conn.(*net.TCPConn))
	}
}

// brokerConn is one connection. The last request and its response are kept, because a
// client repeats its request.
type brokerConn struct {
	broker   *fakeBroker
	conn     net.Conn
	in       *bufio.Reader
	asked    []byte // the last request, as compared by alike
	response *response
	prefix   [wire.ResponsePrefixLen]byte
	piece    []byte // responses that are written in one piece
	iov      [2][]byte
}

func (b *fakeBroker) serve(conn *net.TCPConn) {
	defer conn.Close()
	c := &brokerConn{broker: b, conn: conn}
	if b.tls != nil {
		secure := tls.Server(conn, b.tls)
		if err := handshake(context.Background(), secure); err != nil {
			if errors.Is(err, errOtherTLS) {
				_, _ = fmt.Fprintln(os.Stderr, err) // into the log, which is printed with the client's error
			}
			return
		}
		c.conn = secure
	}
	c.in = bufio.NewReaderSize(c.conn, readBuffer)
	for c.serveOne() == nil {
		// The client ends connections, and reports the errors.
	}
}

var errUnknown = errors.New("an API that the fake broker does not know, or too large a request")

func (c *brokerConn) serveOne() error {
	head, err := c.in.Peek(wire.RequestPrefixLen)
	if err != nil {
		return err
	}
	prefix := wire.ParseRequestPrefix(head)
	if prefix.Size < wire.MinRequestSize || prefix.Size > mostRequest {
		return errUnknown
	}
	n := wire.SizeLen + int(prefix.Size)
	start, err := c.in.Peek(min(n, looksAt(prefix)))
	if err != nil {
		return err
	}
	if !alike(start, c.asked) {
		c.asked = append(c.asked[:0], start...)
		if err := c.prepare(n); err != nil {
			return err
		}
		return c.write(prefix.CorrelationID)
	}
	if _, err := c.in.Discard(n); err != nil {
		return err
	}
	return c.write(prefix.CorrelationID)
}

// looksAt is the length of the part of a request that determines its response. The
// clients of the suite name one topic in Produce, in front of the records.
func looksAt(prefix wire.RequestPrefix) int {
	if prefix.Key == kmsg.Produce.Int16() {
		return 64
	}
	return readBuffer
}

// alike reports whether two requests differ in nothing but their correlation ids.
func alike(a, b []byte) bool {
	const id = wire.RequestPrefixLen - 4
	return len(a) == len(b) && bytes.Equal(a[:id], b[:id]) && bytes.Equal(a[id+4:], b[id+4:])
}

// prepare reads a whole request of n bytes and makes its response.
func (c *brokerConn) prepare(n int) error {
	frame := make([]byte, n)
	if _, err := io.ReadFull(c.in, frame); err != nil {
		return err
	}
	key := string(frame[wire.SizeLen:wire.RequestPrefixLen-4]) + string(c.asked[wire.RequestPrefixLen:])
	// It is made once for all concurrent requests: a response can have 100 MB.
	found, _ := c.broker.answers.LoadOrStore(key, sync.OnceValues(func() (*response, error) {
		return c.broker.newResponse(frame)
	}))
	var err error
	c.response, err = found.(func() (*response, error))()
	return err
}

func (c *brokerConn) write(correlationID int32) error {
	a := c.response
	copy(c.prefix[:], a.size[:])
	binary.BigEndian.PutUint32(c.prefix[wire.SizeLen:], uint32(correlationID))
	if len(a.rest) <= inOnePiece {
		c.piece = append(append(c.piece[:0], c.prefix[:]...), a.rest...)
		_, err := c.conn.Write(c.piece)
		return err
	}
	if c.broker.tls != nil {
		return c.writeRecords(a.rest)
	}
	c.iov = [2][]byte{c.prefix[:], a.rest}
	buffers := net.Buffers(c.iov[:])
	_, err := buffers.WriteTo(c.conn)
	return err
}

// writeRecords writes a response that is too large to be copied over TLS. A prefix
// written alone would be a record of its own, so the first record is filled.
func (c *brokerConn) writeRecords(rest []byte) error {
	const record = 16 * kib // the most that one holds
	first := record - len(c.prefix)
	c.piece = append(append(c.piece[:0], c.prefix[:]...), rest[:first]...)
	if _, err := c.conn.Write(c.piece); err != nil {
		return err
	}
	_, err := c.conn.Write(rest[first:])
	return err
}

func (b *fakeBroker) newResponse(frame []byte) (*response, error) {
	req, err := decodeRequest(frame)
	if err != nil {
		return nil, err
	}
	resp := responseTo(req, b.self)
	if resp == nil {
		return nil, errUnknown
	}
	encoded := encodeResponse(resp)
	a := &response{rest: encoded[wire.ResponsePrefixLen:]}
	copy(a.size[:], encoded)
	return a, nil
}

// decodeRequest decodes a whole frame.
func decodeRequest(frame []byte) (kmsg.Request, error) {
	prefix := wire.ParseRequestPrefix(frame)
	req := kmsg.RequestForKey(prefix.Key)
	if req == nil || prefix.Version < 0 || prefix.Version > req.MaxVersion() {
		return nil, errUnknown
	}
	req.SetVersion(prefix.Version)
	h, err := wire.ParseRequestHeader(frame, req.IsFlexible())
	if err != nil {
		return nil, err
	}
	if err := req.ReadFrom(frame[h.Len:]); err != nil {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(prefix.Key), prefix.Version, err)
	}
	return req, nil
}
