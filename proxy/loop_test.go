package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"

	"kproxy/proxy"
)

// ownSocket opens the socket that the proxy will listen on at the address of the
// configuration, and returns where it is.
func ownSocket(t *testing.T, conf *proxy.Config, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := conf.Listen
	conf.Listen = func(ctx context.Context, network, on string) (net.Listener, error) {
		if on == address {
			return ln, nil
		}
		return listen(ctx, network, on)
	}
	return ln.Addr().String()
}

// wantLoop fails the test unless a client is sent away, and the log says why.
func (l *lab) wantLoop(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c := client{newPeer(t, conn)}
	c.send(1, heartbeat())
	promptly(t, func() { _, _ = c.ended() })
	l.ends.waitFor(t, "session that ended as a loop", func(all []proxy.SessionEnd) bool {
		return len(all) > 0 && all[len(all)-1].Reason == proxy.Loop
	})
	l.log.has(t, "level=ERROR", "reason=loop", "fix=")
}

// A bootstrap address may be a name for the proxy itself.
func TestBootstrapThatIsTheProxy(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	conf := l.config()
	conf.Dial = nil // the real one, which resolves
	own := ownSocket(t, conf, conf.Clusters[0].Listeners[0].Bind)
	_, port, err := net.SplitHostPort(own)
	if err != nil {
		t.Fatal(err)
	}
	conf.Clusters[0].Bootstrap = []string{"localhost:" + port}
	l.start(t, conf)
	l.log.has(t, "level=ERROR", "lead back to this proxy", "clusters.orders.bootstrap")
	l.wantLoop(t, own)
	for _, d := range l.dials.entries() {
		if !d.failed {
			t.Errorf("%s was dialled", d.address)
		}
	}
}

// Behind a balancer no address tells; the proxy's own question, which comes back
// to it, does.
func TestBootstrapThatLeadsBackThroughABalancer(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	conf := l.config()
	conf.Dial = nil
	own := ownSocket(t, conf, conf.Clusters[0].Listeners[0].Bind)
	conf.Clusters[0].Bootstrap = []string{relay(t, own)}
	l.start(t, conf)
	l.log.has(t, "level=ERROR", "lead back to this proxy", "clusters.orders.bootstrap")
	l.wantLoop(t, own)
}

// relay forwards connections to address, and returns where it listens.
func relay(t *testing.T, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveEach(t, ln, func(conn net.Conn) { relayOne(conn, address) })
	return ln.Addr().String()
}

func relayOne(conn net.Conn, address string) {
	defer func() { _ = conn.Close() }()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(conn, to)
		_ = conn.Close()
	}()
	_, _ = io.Copy(to, conn)
	_ = to.Close()
	<-back
}
