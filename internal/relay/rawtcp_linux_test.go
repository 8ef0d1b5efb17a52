package relay

import (
	"crypto/tls"
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
