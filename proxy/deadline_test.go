package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// A goroutine that ends a session wakes its reader by a read deadline in the past. It must
// not be lost if the reader sets a deadline of its own at that moment. hooked makes such
// moments: it calls a function before every deadline is set.
type hooked struct {
	net.Conn
	setting func(deadline time.Time)
}

func (h *hooked) SetReadDeadline(deadline time.Time) error {
	h.setting(deadline)
	return h.Conn.SetReadDeadline(deadline)
}

func (h *hooked) CloseWrite() error {
	return h.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// hookedListener hands out hooked connections.
type hookedListener struct {
	net.Listener
	setting func(deadline time.Time)
}

func (l hookedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &hooked{conn, l.setting}, nil
}

// hook has the proxy call setting before it sets a read deadline of a client.
func (l *lab) hook(conf *proxy.Config, setting func(deadline time.Time)) {
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		ln, err := l.outside.Listen(ctx, network, address)
		return hookedListener{ln, setting}, err
	}
}

// isPast tells the deadline that wakes from those that are in the future.
func isPast(deadline time.Time) bool {
	return !deadline.IsZero() && deadline.Before(time.Now())
}

func TestDrainThatComesWithTheFirstDeadline(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		l.startBroker(t, 0, 0)
		conf := l.config()
		woken := make(chan struct{})
		var done <-chan int
		var once, first sync.Once
		l.hook(conf, func(deadline time.Time) {
			if isPast(deadline) {
				once.Do(func() { close(woken) })
				return
			}
			first.Do(func() {
				done = l.shutdown(10 * time.Second)
				<-woken
				synctest.Wait() // until it is set
			})
		})
		l.start(t, conf)
		l.learned(t, 0)
		c := l.dial(t, "bob.test:9092")
		start := time.Now()
		c.eof()
		if took := time.Since(start); took > 0 {
			t.Errorf("the session was drained after %v, want at once", took)
		}
		c.close()
		wantCut(t, done, 0)
		l.ended(t, proxy.Drained)
	})
}

func TestBrokerThatClosesWhenADrainFindsHalfARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		var s brokerConn
		var past int
		var mu sync.Mutex
		woken := make(chan struct{})
		l.hook(conf, func(deadline time.Time) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case isPast(deadline):
				if past++; past == 2 { // the first is the drain's
					close(woken)
				}
			case deadline.IsZero() && past == 1: // half a request: it is to be read on
				s.close()
				mu.Unlock()
				<-woken
				synctest.Wait() // until it is set
				mu.Lock()
			}
		})
		l.start(t, conf)
		c, opened := l.session(t, b)
		s = opened
		frame := requestFrame(1, produceRequest(9, -1, "", make([]byte, 10_000)))
		go func() { _ = c.tryWrite(frame[:5000]) }()
		s.wants("the half that was sent", frame[:5000])
		start := time.Now()
		done := l.shutdown(10 * time.Second)
		c.eof()
		if took := time.Since(start); took > 0 {
			t.Errorf("the client heard of it after %v, want at once", took)
		}
		c.close()
		wantCut(t, done, 0)
		l.ended(t, proxy.BrokerClosed)
	})
}

// late is a listener that hands out one more connection when it is closed, as
// happens when a client comes at that moment.
type late struct {
	net.Listener
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *late) Accept() (net.Conn, error) {
	<-l.closed
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *late) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A connection that is accepted while the proxy stops is closed as well.
func TestShutdownAndAConnectionAtTheSameTime(t *testing.T) {
	t.Parallel()
	for range 10 { // in one order or the other
		synctest.Test(t, func(t *testing.T) {
			var l lab
			l.inMemory()
			l.startBroker(t, 0, 0)
			conf := l.config()
			near, far := net.Pipe()
			conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
				ln, err := l.outside.Listen(ctx, network, address)
				if address == "127.0.0.1:9092" {
					ln = &late{Listener: ln, conn: far, closed: make(chan struct{})}
				}
				return ln, err
			}
			l.start(t, conf)
			l.learned(t, 0)
			start := time.Now()
			done := l.shutdown(10 * time.Second)
			_ = near.SetReadDeadline(start.Add(time.Minute))
			if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the connection was not closed: %v", err)
			}
			_ = near.Close()
			wantCut(t, done, 0)
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// The next request of a session whose drain has begun is not read.
func TestDrainBetweenRequests(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, heartbeat())
	s.request(kmsg.Heartbeat, 1)
	done := l.shutdown(patience)
	l.refused(t, "bob.test:9092")
	s.silent()
	c.send(2, heartbeat())
	s.silent() // its reader has not started
	s.answer(1, heartbeatAnswer())
	c.receive(1, heartbeatAnswer())
	endedByProxy(c, s)
	wantCut(t, done, 0)
	l.ended(t, proxy.Drained)
}
