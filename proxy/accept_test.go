package proxy_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"kproxy/proxy"
)

// failing is a listener whose first Accepts fail.
type failing struct {
	net.Listener
	left *atomic.Int64
}

func (f failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: f.Addr(), Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// A process that has no file descriptors left gets them back when clients leave.
// Until then a listener waits; it does not end, and does not fill the log.
func TestAcceptErrorsPass(t *testing.T) {
	t.Parallel()
	var l lab
	var failures atomic.Int64
	failures.Store(5)
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		ln, err := l.outside.Listen(ctx, network, address)
		if err == nil && address == "127.0.0.1:9092" {
			ln = failing{ln, &failures}
		}
		return ln, err
	}
	l.start(t, conf)
	for range 3 {
		c, s := l.session(t, b)
		finish(t, &l, c, s)
	}
	l.log.times(t, 1, "level=ERROR", "cannot accept connections", "too many open files", "ulimit -n")
}

// A proxy that cannot bind all its addresses binds none, and its error names the cause.
func TestStartBindsAllOrNothing(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.config()
	taken := errors.New("address already in use")
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		if address == "127.0.0.1:19103" {
			return nil, taken
		}
		return l.outside.Listen(ctx, network, address)
	}
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Start(t.Context())
	if !errors.Is(err, taken) || !strings.Contains(err.Error(), "clusters.orders.listeners.fred: bind 127.0.0.1:19103") {
		t.Errorf("Start: %v", err)
	}
	for _, address := range []string{"127.0.0.1:9092", "127.0.0.1:9109", "127.0.0.1:19102"} {
		if conn, err := l.outside.Dial(t.Context(), "tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s is still bound", address)
		}
	}
}
