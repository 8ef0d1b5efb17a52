package proxy_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// A connection that does not end between two requests is cut after the drain timeout, also if it was
// asked more than once.
func TestDisconnectHasALimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		does func(c client, s brokerConn)
		owed bool
	}{
		{"half a request", func(c client, _ brokerConn) {
			c.write(requestFrame(1, heartbeat())[:9])
		}, false},
		{"a broker that does not respond", func(c client, s brokerConn) {
			c.send(1, heartbeat())
			s.request(kmsg.Heartbeat, 1)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l lab
				l.inMemory()
				c, s := l.open(t)
				tt.does(c, s)
				synctest.Wait()
				start := time.Now()
				id := l.connection(t).ID
				if !l.proxy.Disconnect(id) {
					t.Fatal("there is no such connection")
				}
				time.AfterFunc(config.DefaultDrainTimeout/2, func() { l.proxy.Disconnect(id) })
				endsAfter(t, c.peer, start, config.DefaultDrainTimeout)
				if e := l.ended(t, proxy.Disconnected); (e.Err != nil) != tt.owed {
					t.Errorf("it ended with %v, want an error: %t", e.Err, tt.owed)
				}
			})
		})
	}
}

// A connection that has sent nothing, or no whole header, ends at once.
func TestDisconnectOfArrivals(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string][]byte{"nothing": nil, "half a header": requestFrame(1, heartbeat())[:9]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			l.startBroker(t, 0, 0)
			l.start(t, l.config())
			c := l.dial(t, "bob.test:9092")
			c.write(sent)
			l.opened(t, 1)
			promptly(t, func() {
				if !l.proxy.Disconnect(l.connection(t).ID) {
					t.Error("there is no such connection")
				}
				_, _ = c.ended()
				c.close()
				l.ended(t, proxy.Disconnected)
			})
		})
	}
}

// A client whose broker is being dialled is reset: it takes the orderly end of a connection before the
// first response for a failed login.
func TestDisconnectWhileDialling(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	dialling := make(chan struct{})
	conf.Clusters[0].Dial = []config.DialRule{{Node: new(int32(1)), To: "slow.vpc.invalid:9092"}}
	conf.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "slow.vpc.invalid:9092" {
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return l.vpc.Dial(ctx, network, address)
	}
	b.names = brokersNamed(0, 1)
	l.start(t, conf)
	l.learned(t, 0, 1)
	c := l.dial(t, "bob.test:9101")
	c.send(1, heartbeat())
	<-dialling
	promptly(t, func() {
		l.proxy.Disconnect(l.connection(t).ID)
		if rest, err := c.ended(); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
			t.Errorf("the client got %q and %v, want a reset", rest, err)
		}
		l.ended(t, proxy.Disconnected)
	})
}

// Connections can be listed and closed while they come, work and go. Nothing is left behind.
func TestDisconnectsUnderChurn(t *testing.T) {
	needsPlainTCP(t)
	before := measure()
	t.Run("sessions", func(t *testing.T) {
		var l lab
		l.startKfake(t, 3, kfake.SeedTopics(3, "t"))
		l.start(t, l.config())
		l.learned(t, 0, 1, 2)
		var looking sync.WaitGroup
		churned := make(chan struct{})
		for range 2 {
			looking.Go(func() {
				for n := 0; !isClosed(churned); n++ {
					l.proxy.Topology()
					for i, c := range l.proxy.Connections() {
						if (n+i)%7 == 0 {
							l.proxy.Disconnect(c.ID)
						}
					}
				}
			})
		}
		churnAll(t, &l, 200)
		close(churned)
		looking.Wait()
		for _, c := range l.proxy.Connections() {
			l.proxy.Disconnect(c.ID)
		}
		eventually(t, "no connection is left", func() bool { return len(l.proxy.Connections()) == 0 })
	})
	before.settled(t)
}
