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
		err = socket(conn).(*net.TCPConn).SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: time.Second, Interval: time.Second, Count: 4,
		})
	}
	return conn, err
}

// closeAndForget ends a client's connection altogether. The kernel forgets it in a
// second, instead of a minute.
func (c client) closeAndForget() {
	c.t.Helper()
	raw, err := socket(c.conn).(*net.TCPConn).SyscallConn()
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

// hung opens one more session, on which n requests wait for a broker that has
// hung.
func (l *lab) hung(t *testing.T, b *broker, n int) (client, brokerConn) {
	t.Helper()
	c, s := l.session(t, b)
	go func() { _ = c.tryWrite(requestFrames(1, repeated(n, heartbeat())...)) }()
	for id := range min(n, maxInflight) {
		s.request(kmsg.Heartbeat, int32(id)+1)
	}
	return c, s
}

// maxInflight is how many requests the proxy lets a client have in flight.
const maxInflight = 1024

// A session does not wait for a hung broker after its client has left. That holds for every
// way of leaving, and although the proxy does not read from the client, because the session
// is too old or too many requests are in flight. A client that has only ended its side, and
// reads, has not left: it gets its response, long after the others have been detected.
func TestNobodyWaitsForABrokerThatHung(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	const age = 2 * time.Second // what opening all sessions has to be faster than
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.MaxAge, conf.PeerGoneAfter = age, time.Second
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		socket, err := l.outside.Listen(ctx, network, address)
		return probed{socket}, err
	}
	l.start(t, conf)
	cases := []struct {
		name   string
		owed   int
		leave  func(c client)
		client client
		broker brokerConn
	}{
		{name: "too old, reset", owed: 1, leave: func(c client) { c.reset() }},
		{name: "too old, closed", owed: 1, leave: client.closeAndForget},
		{name: "too many in flight, reset", owed: maxInflight + 1, leave: func(c client) { c.reset() }},
		{name: "too many in flight, closed", owed: maxInflight + 1, leave: client.closeAndForget},
	}
	for i := range cases {
		cases[i].client, cases[i].broker = l.hung(t, b, cases[i].owed)
	}
	reader, slow := l.hung(t, b, 1)
	old := time.NewTimer(age + time.Second)
	<-old.C

	left := time.Now()
	reader.closeWrite()
	for _, c := range cases {
		c.leave(c.client)
	}
	for _, c := range cases {
		_, _ = c.broker.ended()
		if took := time.Since(left); took < time.Second || took > patience/2 {
			t.Errorf("%s: the broker was left after %v", c.name, took)
		}
		c.broker.close()
		e := l.ended(t, proxy.ClientReset)
		if e.Err == nil || !strings.Contains(e.Err.Error(), "the client is gone") || !strings.Contains(e.Err.Error(), "no response") {
			t.Errorf("%s: the session ended with %v", c.name, e.Err)
		}
	}

	long := time.NewTimer(2 * time.Second) // more than the limit
	<-long.C
	slow.silent()
	slow.answer(1, heartbeatAnswer())
	reader.receive(1, heartbeatAnswer())
	slow.eof()
	slow.close()
	reader.eof()
	reader.close()
	l.ended(t, proxy.MaxAge)
}
