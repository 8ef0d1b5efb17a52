//go:build e2e

package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// nat forwards connections as the network in front of kproxy would: clients dial an
// address and a port that kproxy never listens on. It checks the bytes for names that no
// client may get.
type nat struct {
	t      *testing.T
	inside string
	l      net.Listener
	conns  sync.WaitGroup
}

// forward sends connections to outside on to inside until the test ends.
func forward(t *testing.T, outside, inside string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", outside)
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{t: t, inside: inside, l: l}
	n.conns.Go(func() { n.accept(t.Context()) })
	t.Cleanup(func() {
		// The connections end with kproxy or with their client, both gone by now.
		l.Close()
		n.conns.Wait()
	})
}

// accept ends when the listener is closed.
func (n *nat) accept(ctx context.Context) {
	for {
		conn, err := n.l.Accept()
		if err != nil {
			return
		}
		n.conns.Go(func() { n.serve(ctx, conn.(*net.TCPConn)) })
	}
}

// serve ends when both directions have ended, and each side's close has been passed on.
func (n *nat) serve(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", n.inside)
	if err != nil {
		return
	}
	defer conn.Close()
	server := conn.(*net.TCPConn)
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	})
	scan := &leakScanner{found: func(around []byte) {
		n.t.Errorf("%s sent a broker's own name: %q", n.inside, around)
	}}
	_, _ = io.Copy(io.MultiWriter(client, scan), server)
	_ = client.CloseWrite()
	up.Wait()
}
