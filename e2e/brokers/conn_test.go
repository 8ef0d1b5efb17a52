//go:build e2e

package brokers

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds the wait for an event that should come at once.
const patience = 20 * time.Second

// conn is a connection to a broker, spoken by hand.
type conn struct {
	net.Conn
	t      *testing.T
	client string // its id
	next   int32  // correlation id
}

func dial(t *testing.T, address string) *conn {
	t.Helper()
	c, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &conn{Conn: c, t: t, client: "wire"}
}

// send writes a request and returns its correlation id.
func (c *conn) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.next++
	c.write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.client)).AppendRequest(nil, req, c.next))
	return c.next
}

// write writes bytes.
func (c *conn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads a frame without its size.
func (c *conn) frame() []byte {
	c.t.Helper()
	b, err := c.tryFrame()
	if err != nil {
		c.t.Fatalf("read a response: %v", err)
	}
	return b
}

func (c *conn) tryFrame() ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// ask sends a request and reads its response.
func ask[R kmsg.Response](c *conn, req kmsg.Request) R {
	c.t.Helper()
	id := c.send(req)
	return response[R](c, req, id)
}

// response reads the response to a request.
func response[R kmsg.Response](c *conn, req kmsg.Request, id int32) R {
	c.t.Helper()
	b := c.frame()
	if got := int32(binary.BigEndian.Uint32(b)); got != id {
		c.t.Fatalf("correlation id: got %d, want %d", got, id)
	}
	b = b[4:]
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if b[0] != 0 {
			c.t.Fatalf("tags in the response header: got %d", b[0])
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(resp.Key()), resp.GetVersion(), err)
	}
	return resp.(R)
}

// logIn logs in by PLAIN.
func (c *conn) logIn() {
	c.t.Helper()
	handshake := kmsg.NewPtrSASLHandshakeRequest()
	handshake.Version, handshake.Mechanism = 1, "PLAIN"
	ask[*kmsg.SASLHandshakeResponse](c, handshake)
	authenticate := kmsg.NewPtrSASLAuthenticateRequest()
	authenticate.SASLAuthBytes = []byte("\x00" + username + "\x00" + password)
	if resp := ask[*kmsg.SASLAuthenticateResponse](c, authenticate); resp.ErrorCode != 0 {
		c.t.Fatalf("login: error %d", resp.ErrorCode)
	}
}

// wantClosed wants the broker to close without another byte.
func (c *conn) wantClosed() {
	c.t.Helper()
	b, err := c.tryFrame()
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("the connection: got % x, %v, want its end", b, err)
	}
}
