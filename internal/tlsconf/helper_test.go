package tlsconf

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"kproxy/internal/certlab"
)

// patience is how long a test waits for an event before it fails.
const patience = 20 * time.Second

func newRSAKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pairOf writes name.PEM and name.key.
func pairOf(t *testing.T, f certlab.Folder, name string, id certlab.Identity) KeyPair {
	t.Helper()
	cert, key := f.Pair(t, name, id)
	return KeyPair{Cert: cert, Key: key}
}

func mustServer(t *testing.T, c ServerConfig, events Events) *Server {
	t.Helper()
	s, err := NewServer(c, events)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClient(t *testing.T, c ClientConfig, events Events) *Client {
	t.Helper()
	client, err := NewClient(c, events)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// tcpPair returns the two ends of a connection over loopback, closed after the test in an
// order that loses no alert.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	end := time.Now().Add(patience)
	for _, conn := range []net.Conn{near, far} {
		if err := conn.SetDeadline(end); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

func always(s *Server) func(string) (*Server, error) {
	return func(string) (*Server, error) { return s, nil }
}

// meeting is the result of a handshake at both sides.
type meeting struct {
	server, client           error
	serverState, clientState tls.ConnectionState
}

// meet connects a client of crypto/tls to Accept. The server sends one byte, so that the
// messages after the handshake of TLS 1.3 arrive: tickets and alerts.
func meet(t *testing.T, route func(string) (*Server, error), config *tls.Config) meeting {
	t.Helper()
	near, far := tcpPair(t)
	return meetOver(t, near, far, route, config)
}

func meetOver(t *testing.T, near, far net.Conn, route func(string) (*Server, error), config *tls.Config) meeting {
	t.Helper()
	var m meeting
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conn *tls.Conn
		if conn, m.server = Accept(deadline(t), far, route); m.server == nil {
			m.serverState = conn.ConnectionState()
			_, m.server = conn.Write([]byte{1})
		}
	}()
	client := tls.Client(near, config)
	if m.client = client.HandshakeContext(deadline(t)); m.client == nil {
		_, m.client = client.Read(make([]byte, 1))
		m.clientState = client.ConnectionState()
	}
	<-done
	return m
}

func mustMeet(t *testing.T, s *Server, config *tls.Config) meeting {
	t.Helper()
	m := meet(t, always(s), config)
	if m.server != nil || m.client != nil {
		t.Fatalf("handshake: server %v, client %v", m.server, m.client)
	}
	return m
}

// wantFailure checks why a handshake failed.
func wantFailure(t *testing.T, err error, want Failure) {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *Error of %s", err, err, want)
	}
	if failed.Failure != want {
		t.Errorf("failure %s (%v), want %s", failed.Failure, failed.Err, want)
	}
	if want != Other && failed.Advice == "" {
		t.Errorf("failure %s has no advice", want)
	}
}

// wantAlert checks the alert that the other side got.
func wantAlert(t *testing.T, err error, want tls.AlertError) {
	t.Helper()
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" || remote.Err.Error() != want.Error() {
		t.Errorf("the other side sees %v, want the alert %q", err, want.Error())
	}
}
