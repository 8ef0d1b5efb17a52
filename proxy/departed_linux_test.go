package proxy_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"kproxy/proxy"
)

// probed is a listener whose connections are probed after a second of silence,
// instead of a minute.
type probed struct{ net.Listener }

func (l probed) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: time.Second, Interval: time.Second, Count: 4,
		})
	}
	return conn, err
}

// closeAndForget ends a client's connection altogether. The kernel forgets it in a
// second, instead of a minute.
func (c client) closeAndForget() {
	c.t.Helper()
	raw, err := c.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	var optErr error
	err = raw.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_LINGER2, 1) })
	if err != nil || optErr != nil {
		c.t.Fatal(err, optErr)
	}
	c.close()
}

// waiting opens a session that is too old, and waits for n answers of a broker
// that has hung.
func (l *lab) waiting(t *testing.T, n int, edit func(conf *proxy.Config)) (client, brokerConn) {
	t.Helper()
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.PeerGoneAfter = time.Second
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		socket, err := l.outside.Listen(ctx, network, address)
		return probed{socket}, err
	}
	edit(conf)
	l.start(t, conf)
	c, s := l.session(t, b)
	go func() { _ = c.tryWrite(requestFrames(1, repeated(n, heartbeat())...)) }()
	for id := range min(n, maxInflight) {
		s.request(kmsg.Heartbeat, int32(id)+1)
	}
	return c, s
}

// maxInflight is how many requests the proxy lets a client have in flight.
const maxInflight = 1024

func tooOld(conf *proxy.Config) { conf.MaxAge = 50 * time.Millisecond }

// A broker that has hung is not waited for when the client has left, however it
// left, and although nobody reads the client.
func TestNobodyWaitsForABrokerThatHung(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		owed  int
		edit  func(conf *proxy.Config)
		leave func(c client)
	}{
		{"too old, reset", 1, tooOld, func(c client) { c.reset() }},
		{"too old, closed", 1, tooOld, client.closeAndForget},
		{"too many in flight, reset", maxInflight + 1, func(*proxy.Config) {}, func(c client) { c.reset() }},
		{"too many in flight, closed", maxInflight + 1, func(*proxy.Config) {}, client.closeAndForget},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			client, s := l.waiting(t, c.owed, c.edit)
			settle := time.NewTimer(time.Second / 2) // until max_age has passed
			<-settle.C
			c.leave(client)
			left := time.Now()
			_, _ = s.ended()
			if took := time.Since(left); took < time.Second || took > patience/2 {
				t.Errorf("the broker was left after %v", took)
			}
			s.close()
			e := l.ended(t, proxy.ClientReset)
			if e.Err == nil || !strings.Contains(e.Err.Error(), "the client is gone") || !strings.Contains(e.Err.Error(), "no answer") {
				t.Errorf("the session ended with %v", e.Err)
			}
		})
	}
}

// A client that has ended its side, and reads, is there: it gets its answer, when
// it comes, long after a client that has left would have been found.
func TestAClientThatReadsIsWaitedFor(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.waiting(t, 1, tooOld)
	settle := time.NewTimer(time.Second / 2)
	<-settle.C
	c.closeWrite()
	long := time.NewTimer(5 * time.Second) // of silence, with five probes
	<-long.C
	s.silent()
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	s.eof()
	s.close()
	c.eof()
	c.close()
	l.ended(t, proxy.MaxAge)
}
