package proxy_test

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// unwritable is a connection whose writes fail once they are told to. Its reads go on.
type unwritable struct {
	net.Conn

	fails *atomic.Bool
}

func (f unwritable) Write(b []byte) (int, error) {
	if f.fails.Load() {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENOBUFS)}
	}
	return f.Conn.Write(b)
}

func (f unwritable) CloseWrite() error { return f.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// A write to the broker can fail while the connection is whole, and the broker has nothing to
// say: it waits for the rest of a request. The session ends all the same.
func TestAWriteToTheBrokerFails(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		l.first = l.startBroker(t, 0, 0)
		conf := l.config()
		dial, fails := conf.Dial, new(atomic.Bool)
		conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return unwritable{conn, fails}, nil
		}
		l.start(t, conf)
		c, _ := l.session(t, l.first)
		fails.Store(true)
		began := time.Now()
		c.send(1, heartbeat())
		e := l.ended(t, proxy.BrokerClosed)
		if e.Err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("the session ended after %s: %v", time.Since(began), e.Err)
		}
		c.close()
	})
}

// stumbling is a connection of which one write fails behind its first bytes. The next ones would
// succeed.
type stumbling struct {
	net.Conn

	next *atomic.Bool // the next write fails
}

const stumblesAfter = 6

func (s stumbling) Write(b []byte) (int, error) {
	if s.next.Swap(false) {
		n, _ := s.Conn.Write(b[:stumblesAfter])
		return n, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENOBUFS)}
	}
	return s.Conn.Write(b)
}

func (s stumbling) CloseWrite() error { return s.Conn.(interface{ CloseWrite() error }).CloseWrite() }

type stumblingListener struct {
	net.Listener

	next *atomic.Bool
}

func (l stumblingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stumbling{conn, l.next}, nil
}

// Behind a write to the client that has failed inside a response, the client gets no more: it
// would take the next bytes for the rest of that response.
func TestAWriteToTheClientFails(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		l.first = l.startBroker(t, 0, 0)
		conf, next := l.config(), new(atomic.Bool)
		conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
			ln, err := l.outside.Listen(ctx, network, address)
			return stumblingListener{ln, next}, err
		}
		l.start(t, conf)
		c, s := l.session(t, l.first)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		next.Store(true)
		go s.answer(1, heartbeatAnswer())
		if got, err := c.ended(); len(got) != stumblesAfter {
			t.Errorf("the client has %d bytes (%v), want the first %d of its response", len(got), err, stumblesAfter)
		}
		c.close()
		l.ended(t, proxy.ClientReset)
	})
}
