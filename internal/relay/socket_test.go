package relay

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"

	"kproxy/internal/certlab"
)

// failing is a TCP connection with a write that moves one byte and fails.
type failing struct {
	*net.TCPConn
	fails bool
}

func (f *failing) NetConn() net.Conn { return f.TCPConn }

func (f *failing) Write(b []byte) (int, error) {
	if f.fails {
		f.fails = false
		n, _ := f.TCPConn.Write(b[:1])
		return n, syscall.EPIPE
	}
	return f.TCPConn.Write(b)
}

// A write of TLS fails inside a record. The peer sees the end of the connection behind the record's
// part, and not a close_notify as the record's bytes.
func TestCloseWriteAfterError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	authority := certlab.NewAuthority(t, "test")
	identity := authority.Issue(t, nil, "broker.test")
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	broker := tls.Server(accepted, &tls.Config{Certificates: []tls.Certificate{identity.Pair}})
	defer broker.Close()
	hands := make(chan error, 1)
	go func() { hands <- broker.Handshake() }()

	socket := &failing{TCPConn: dialled.(*net.TCPConn)} //nolint:forcetypeassert // "tcp"
	conn := tls.Client(socket, &tls.Config{RootCAs: authority.Pool(), ServerName: "broker.test"})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-hands; err != nil {
		t.Fatal(err)
	}
	socket.fails = true
	if _, err := conn.Write([]byte("request")); err == nil {
		t.Fatal("the write has not failed")
	}
	CloseWriteAfterError(conn)
	if n, err := io.Copy(io.Discard, accepted); n != 1 || err != nil {
		t.Errorf("the broker reads %d bytes, and %v", n, err)
	}
}
