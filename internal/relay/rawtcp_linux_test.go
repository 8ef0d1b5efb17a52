package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/internal/certlab"
	"kproxy/internal/portlab"
)

// Records that have come one after another are read together, and so leave
// together: each of them by itself would be a packet to the broker.
func TestRecordsAreReadTogether(t *testing.T) {
	client, secure := portlab.TCPPair(t)
	written := &counting{Conn: client}
	authority := certlab.NewAuthority(t, "test")
	p, sender := &Stream{}, tls.Client(written, &tls.Config{RootCAs: authority.Pool(), ServerName: "kproxy.test", MinVersion: tls.VersionTLS12})
	receiver := tls.Server(NewRawTCPConn(secure), &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, nil, "kproxy.test").Pair}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
	})
	shaken := make(chan error, 1)
	go func() { shaken <- receiver.HandshakeContext(t.Context()) }()
	if err := sender.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	p.Connect(receiver, nil, nil)
	for _, round := range []string{"first", "second"} {
		p.Boundary()
		written.bytes = 0
		for range 3 {
			if _, err := sender.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		waitForBytes(t, secure, written.bytes)
		b, err := p.Peek(1)
		if err != nil || len(b) != 3000 {
			t.Fatalf("the %s read has %d bytes, %v, want those of all three records", round, len(b), err)
		}
		if err := p.Drop(len(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sender.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Peek(1); err == nil {
		t.Error("the end was not seen")
	}
}

// A peer that sends the begin of a TLS message, and never its end, is not read for ever. Data
// resets the count, however many records one read takes, and a handshake has no part in it.
func TestTLSWithoutDataIsBounded(t *testing.T) {
	client, secure := portlab.TCPPair(t)
	raw := NewRawTCPConn(secure)
	send := func(n int) {
		t.Helper()
		if _, err := client.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	const handshake = 3 * maxNoData
	send(handshake)
	if _, err := io.CopyN(io.Discard, raw, handshake); err != nil {
		t.Fatalf("before there is a stream: %v", err)
	}
	var p Stream
	tls := &records{Conn: raw, data: true}
	p.Connect(tls, secure, nil)
	p.secure = true
	const many = 8
	send(many * maxNoData)
	for got := 0; got < many; {
		n, err := p.readTLS(many)
		if err != nil {
			t.Fatalf("%d records, then %v", got, err)
		}
		got += n
	}
	p.end = 0
	p.Boundary()
	for range 4 {
		send(maxNoData)
		if n, err := p.readTLS(1); n != 1 || err != nil {
			t.Fatalf("read %d bytes of data, %v, want one", n, err)
		}
		p.end = 0
		p.Boundary()
	}
	tls.data = false
	send(2 * maxNoData)
	if n, err := p.readTLS(1); n != 0 || !errors.Is(err, ErrNoData) {
		t.Errorf("read %d bytes of data, %v, want %v", n, err, ErrNoData)
	}
}

// records is a TLS that has a byte of data in maxNoData bytes, or none at all. It keeps the begin
// of a record over an error.
type records struct {
	net.Conn

	data bool
	got  int
}

func (r *records) NetConn() net.Conn { return r.Conn }

func (r *records) Read(b []byte) (int, error) {
	for {
		for r.got < maxNoData {
			n, err := r.Conn.Read(make([]byte, maxNoData-r.got))
			if r.got += n; err != nil {
				return 0, err
			}
		}
		r.got = 0
		if r.data {
			return copy(b, "."), nil
		}
	}
}

// counting counts the bytes written.
type counting struct {
	net.Conn
	bytes int
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes += n
	return n, err
}

// waitForBytes waits until so many can be read from a connection.
func waitForBytes(t *testing.T, conn net.Conn, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		var there int
		if err := RawConnOf(conn).Control(func(fd uintptr) { there, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
			t.Fatal(err)
		}
		switch {
		case there == want:
			return
		case time.Now().After(deadline):
			t.Fatalf("%d bytes have come, want %d", there, want)
		}
	}
}
