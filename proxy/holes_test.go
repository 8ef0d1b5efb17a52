package proxy_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// holes are addresses at which a dial gets no response.
type holes struct {
	mu    sync.Mutex
	names []string
	begun chan string // dials
	ended chan error  // why they ended
}

// holeTimeout is the connect_timeout of a lab with holes. Three times as much is within patience.
const holeTimeout = 5 * time.Second

// dig makes addresses of the lab's brokers holes.
func (l *lab) dig(conf *proxy.Config, names ...string) *holes {
	h := &holes{names: names, begun: make(chan string, 100), ended: make(chan error, 100)}
	conf.Clusters[0].ConnectTimeout = holeTimeout
	dial := conf.Dial
	conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		h.mu.Lock()
		isHole := slices.Contains(h.names, address)
		h.mu.Unlock()
		if !isHole {
			return dial(ctx, network, address)
		}
		h.begun <- address
		<-ctx.Done()
		h.ended <- ctx.Err()
		return nil, ctx.Err()
	}
	return h
}

func (h *holes) add(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = append(h.names, names...)
}

// wait waits until a dial of the address has begun.
func (h *holes) wait(t *testing.T, address string) {
	t.Helper()
	for {
		select {
		case got := <-h.begun:
			if got == address {
				return
			}
		case <-time.After(patience):
			t.Fatalf("%s was not dialled", address)
		}
	}
}

func brokerNames(first, last int) (names []string) {
	for n := first; n <= last; n++ {
		names = append(names, brokerName(n))
	}
	return names
}

// However many brokers do not respond, a client waits three times connect_timeout, and is
// served before if one does.
func TestReachingABrokerHasALimit(t *testing.T) {
	t.Parallel()
	t.Run("none responds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var l lab
			l.inMemory()
			conf := l.config()
			conf.Clusters[0].Bootstrap = brokerNames(0, 7)
			l.dig(conf, brokerNames(0, 7)...)
			l.start(t, conf)
			c := l.dial(t, "bob.test:9092")
			c.send(1, heartbeat())
			e := l.ended(t, proxy.DialFailed)
			if e.Duration != 3*holeTimeout {
				t.Errorf("the session ended after %v, want %v", e.Duration, 3*holeTimeout)
			}
			if text := e.Err.Error(); !strings.Contains(text, brokerName(0)) || !strings.Contains(text, brokerName(7)) {
				t.Errorf("not all were tried: %s", text)
			}
		})
	})
	t.Run("one of nine responds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var l lab
			l.inMemory()
			b := l.startBroker(t, 8, 8)
			conf := l.config()
			conf.Clusters[0].Bootstrap = brokerNames(0, 8)
			l.dig(conf, brokerNames(0, 7)...)
			l.start(t, conf)
			for range 9 { // another one is the first each time
				c := l.dial(t, "bob.test:9092")
				c.send(1, heartbeat())
				var s brokerConn
				select {
				case s = <-b.conns:
				case <-time.After(3 * holeTimeout):
					t.Fatal("the broker was not dialled in time")
				}
				s.request(kmsg.Heartbeat, 1)
				go func() { _ = s.tryWrite(answerFrame(1, heartbeatAnswer())) }()
				c.receive(1, heartbeatAnswer())
				c.close()
				s.eof()
				s.close()
				l.ended(t, proxy.ClientClosed)
			}
		})
	})
	t.Run("of many known brokers none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var l lab
			l.inMemory()
			nodes := make([]int, 60)
			for i := range nodes {
				nodes[i] = i
			}
			b := l.startBroker(t, 0, nodes...)
			conf := l.config()
			h := l.dig(conf)
			l.start(t, conf)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l.proxy.Table(ctx) // waits until they are known
			b.stop()
			l.vpc.Remove(brokerName(0))
			h.add(brokerNames(1, 59)...)
			c := l.dial(t, "bob.test:9092")
			c.send(1, heartbeat())
			e := l.ended(t, proxy.DialFailed)
			if e.Duration != 3*holeTimeout {
				t.Errorf("the session ended after %v, want %v", e.Duration, 3*holeTimeout)
			}
			if n := len(h.begun); n < 10 || n > 16 {
				t.Errorf("%d known brokers were tried, want 16 at most", n)
			}
		})
	})
}

// A drain ends a session that has no broker yet. Its client gets a reset: it has sent a request
// that no broker has.
func TestDrainDuringADial(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0, 1)
	conf := l.config()
	h := l.dig(conf, brokerName(1))
	l.start(t, conf)
	l.learned(t, 0, 1)
	c := l.dial(t, "bob.test:9101")
	c.send(1, heartbeat())
	h.wait(t, brokerName(1))
	promptly(t, func() {
		wantCut(t, l.shutdown(patience), 0)
		if rest, err := c.ended(); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
			t.Errorf("end: got %s and error %v, want nothing and a reset", excerpt(rest), err)
		}
	})
	l.ended(t, proxy.Drained)
	if err := <-h.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the dial ended with %v", err)
	}
}
