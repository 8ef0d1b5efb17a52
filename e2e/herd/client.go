//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

const (
	// serverName is the name in the listener's certificate.
	serverName = "kproxy.test"
	// patience is how long a client waits for a response before it counts as lost: longer
	// than any response here may take.
	patience = 30 * time.Second
)

// The requests that clients send.
var (
	askVersions = encode(kmsg.NewPtrApiVersionsRequest(), 3)
	askMetadata = encode(kmsg.NewPtrMetadataRequest(), 12)
)

func encode(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("herd")).AppendRequest(nil, req, 0)
}

// door is an address, and the TLS configuration to connect to it.
type door struct {
	Address string
	TLS     *tls.Config // nil: plaintext
}

// dial connects, and does not ask yet.
func (d door) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil || d.TLS == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		reset(conn)
		return nil, err
	}
	return secure, nil
}

// visit connects and asks once.
func (d door) visit(ctx context.Context) (net.Conn, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := ask(conn, bytes.Clone(askVersions), 1); err != nil {
		reset(conn)
		return nil, err
	}
	return conn, nil
}

// ask sends a request with a correlation id, and reads the response to it.
func ask(conn net.Conn, frame []byte, id int32) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	number(frame, id)
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	return responded(conn, id)
}

// number gives a request its correlation id.
func number(frame []byte, id int32) {
	binary.BigEndian.PutUint32(frame[wire.RequestPrefixLen-4:], uint32(id))
}

// responded reads the response to a request.
func responded(in io.Reader, id int32) error {
	response, err := readFrame(in)
	if err == nil && wire.CorrelationID(response) != id {
		err = fmt.Errorf("a response to request %d, want %d", wire.CorrelationID(response), id)
	}
	return err
}

// reset closes a connection by a reset, as if the machine had gone. It does not wait.
func reset(conn net.Conn) {
	if conn == nil {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// hello is a whole ClientHello.
func hello(ctx context.Context) []byte {
	var sent capture
	_ = tls.Client(&sent, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}).HandshakeContext(ctx) // ends at its first read
	return sent.Bytes()
}

// capture is a connection that keeps the bytes written, and reads an end.
type capture struct {
	net.Conn
	bytes.Buffer
}

func (c *capture) Read([]byte) (int, error)       { return 0, io.EOF }
func (c *capture) Write(b []byte) (int, error)    { return c.Buffer.Write(b) }
func (c *capture) Close() error                   { return nil }
func (*capture) SetWriteDeadline(time.Time) error { return nil }
