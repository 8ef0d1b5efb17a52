package proxy_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// bobs makes conf keep bob's real address on loopback.
func bobs(l *lab, conf *proxy.Config) *atomic.Pointer[net.TCPAddr] {
	var address atomic.Pointer[net.TCPAddr]
	conf.Listen = func(ctx context.Context, network, bind string) (net.Listener, error) {
		ln, err := l.outside.Listen(ctx, network, bind)
		if err == nil && bind == "127.0.0.1:9092" {
			address.Store(ln.Addr().(*net.TCPAddr))
		}
		return ln, err
	}
	return &address
}

// knock connects to a proxy that refuses it.
func knock(t *testing.T, from string, to *net.TCPAddr) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
	conn, err := dialer.DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		return // reset before Dial had seen the connection
	}
	defer func() { _ = conn.Close() }()
	if rest, _ := newPeer(t, conn).ended(); len(rest) > 0 {
		t.Errorf("a refused client read %s", excerpt(rest))
	}
}

// At a limit the newest connection is closed at once, and no broker is dialled for it. The
// others go on, and when one of them ends, another is admitted.
func TestConnectionLimits(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for _, c := range []struct {
		name   string
		edit   func(conf *proxy.Config, bob *config.ListenerLimits)
		reason proxy.CloseReason
		key    string
	}{
		{
			"all listeners", func(conf *proxy.Config, _ *config.ListenerLimits) { conf.MaxConnections = 3 },
			proxy.TooManyConnections, "limit=limits.max_connections",
		},
		{
			"one listener", func(_ *proxy.Config, bob *config.ListenerLimits) { bob.MaxConnections = 3 },
			proxy.TooManyConnections, "limit=clusters.orders.listeners.bob.limits.max_connections",
		},
		{
			"one source", func(_ *proxy.Config, bob *config.ListenerLimits) { bob.MaxPerSource = 3 },
			proxy.TooManyFromSource, "limit=clusters.orders.listeners.bob.limits.max_per_source",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var l lab
			b := l.startBroker(t, 0, 0)
			conf := l.config()
			c.edit(conf, &conf.Clusters[0].Listeners[0].Limits)
			bob := bobs(&l, conf)
			l.start(t, conf)
			l.learned(t, 0)
			var clients [3]client
			var brokers [3]brokerConn
			for i := range clients {
				clients[i], brokers[i] = l.session(t, b)
			}
			for range 5 {
				knock(t, "127.0.0.1", bob.Load())
				l.ended(t, c.reason)
			}
			l.log.times(t, 1, "level=WARN", "is reached", c.key, "refused=1", "fix=")
			if got := b.sessions(); got != 3 {
				t.Errorf("the broker was dialled %d times, want 3", got)
			}
			finish(t, &l, clients[0], brokers[0])
			next, s := l.retry(t, b)
			exchange(clients[1], brokers[1], 1)
			finish(t, &l, next, s)
			finish(t, &l, clients[1], brokers[1])
			finish(t, &l, clients[2], brokers[2])
		})
	}
}

// retry opens a session where one has just ended, and tries again while that
// one's place is not free yet.
func (l *lab) retry(t *testing.T, b *broker) (client, brokerConn) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if time.Now().After(deadline) {
			t.Fatal("no place gets free")
		}
		refused := make(chan struct{})
		conn, err := l.outside.Dial(t.Context(), "tcp", "bob.test:9092")
		if err != nil { // reset before Dial had seen the connection
			l.ends.next(t)
			continue
		}
		t.Cleanup(func() { _ = conn.Close() })
		c := client{newPeer(t, conn)}
		go func() {
			defer close(refused)
			if c.tryWrite(requestFrame(0, heartbeat())) == nil {
				_, _ = c.in.Peek(1)
			}
		}()
		select {
		case s := <-b.conns:
			s.request(kmsg.Heartbeat, 0)
			s.answer(0, heartbeatAnswer())
			<-refused
			c.receive(0, heartbeatAnswer())
			return c, s
		case <-refused:
			l.ends.next(t)
		}
	}
}

// exchange is one request and its response.
func exchange(c client, s brokerConn, id int32) {
	c.t.Helper()
	c.send(id, heartbeat())
	s.request(kmsg.Heartbeat, id)
	s.answer(id, heartbeatAnswer())
	c.receive(id, heartbeatAnswer())
}

// A connection from another network is closed before anything is read, and logged once.
func TestNetworksThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	listener := &conf.Clusters[0].Listeners[0]
	listener.Allow, listener.Deny = []string{"127.0.0.0/29"}, []string{"127.0.0.7"}
	bob := bobs(&l, conf)
	l.start(t, conf)
	l.learned(t, 0) // by a question of the proxy's own, which is not counted below
	c, s := l.session(t, b)
	for range 3 {
		knock(t, "127.0.0.7", bob.Load())
		l.ended(t, proxy.NotAllowed)
	}
	l.log.times(t, 1, "level=WARN", "not admitted", "limit=clusters.orders.listeners.bob.deny", "source=127.0.0.7", "refused=1", "fix=\"take the network out of deny")
	knock(t, "127.0.0.9", bob.Load())
	l.ended(t, proxy.NotAllowed)
	l.log.times(t, 1, "level=WARN", "not admitted", "limit=clusters.orders.listeners.bob.allow", "source=127.0.0.9", "refused=1", "fix=\"add the network to allow")
	if got := b.sessions(); got != 1 {
		t.Errorf("the broker was dialled %d times, want once", got)
	}
	finish(t, &l, c, s)
}

// Another source has a limit of its own.
func TestLimitPerSource(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].Limits.MaxPerSource = 1
	bob := bobs(&l, conf)
	l.start(t, conf)
	c, s := l.session(t, b)
	knock(t, "127.0.0.1", bob.Load())
	l.ended(t, proxy.TooManyFromSource)
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}}
	conn, err := other.DialContext(t.Context(), "tcp", bob.Load().String())
	if err != nil {
		t.Fatal(err)
	}
	c2 := client{newPeer(t, conn)}
	c2.send(0, heartbeat())
	s2 := b.take()
	s2.request(kmsg.Heartbeat, 0)
	s2.answer(0, heartbeatAnswer())
	c2.receive(0, heartbeatAnswer())
	finish(t, &l, c, s)
	finish(t, &l, c2, s2)
}

// Connections beyond the rate and its burst of one second are closed at once. A moment later
// there is room again. Other listeners are not affected.
func TestAcceptRate(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].Limits.AcceptRate = 5
	l.start(t, conf)
	const knocks = 50
	for range knocks {
		if conn, err := l.outside.Dial(t.Context(), "tcp", "bob.test:9092"); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	l.ended(t, proxy.AcceptRate)
	if n := len(l.ends.entries()); n > knocks-5 {
		t.Errorf("%d of %d connections were closed", n, knocks)
	}
	fred := l.dial(t, "localhost:39092")
	fred.send(0, heartbeat())
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	late, lateBroker := l.retry(t, b)
	for _, p := range []*peer{fred.peer, s.peer, late.peer, lateBroker.peer} {
		p.close()
	}
}

// A flood leaves nothing behind, not even in the log, and who is there already
// does not notice it.
func TestFloodAtLimit(t *testing.T) {
	const flood = 500
	before := measure()
	t.Run("flood", func(t *testing.T) {
		var l lab
		reported := make(chan struct{}, 2*flood)
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.MaxConnections = 2
		conf.ParkAfter = -1 // the first that is parked has the proxy open an epoll set
		conf.Observer.SessionClosed = func(proxy.Session, proxy.SessionEnd) { reported <- struct{}{} }
		bob := bobs(&l, conf)
		l.start(t, conf)
		c, s := l.session(t, b)
		c2, s2 := l.session(t, b)
		full := measure()
		lines := len(l.log.entries())
		var first, last runtime.MemStats
		runtime.ReadMemStats(&first)
		var knocking sync.WaitGroup
		for range 10 {
			knocking.Go(func() {
				for range flood / 10 {
					knock(t, "127.0.0.1", bob.Load())
				}
			})
		}
		for id := range int32(50) {
			exchange(c, s, id+1)
		}
		knocking.Wait()
		exchange(c2, s2, 1)
		for n := range flood { // clients see their end before it is counted
			select {
			case <-reported:
			case <-time.After(patience):
				t.Fatalf("%d of %d ends are reported", n, flood)
			}
		}
		full.settled(t)
		runtime.GC()
		runtime.ReadMemStats(&last)
		if grown := int64(last.HeapInuse) - int64(first.HeapInuse); grown > 4<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		var opened, counted int64
		for _, stats := range l.proxy.Stats().Clusters[0].Listeners {
			opened += stats.Opened
			for _, c := range stats.Closed {
				counted += c.Count
			}
		}
		if opened != flood+2 || counted != flood || len(reported) > 0 {
			t.Errorf("%d sessions opened, %d closed, and %d more reported, want %d, %d and none", opened, counted, len(reported), flood+2, flood)
		}
		if got := len(l.log.entries()) - lines; got > 3 {
			t.Errorf("the log has %d lines about it", got)
		}
		for _, pair := range []*peer{c.peer, c2.peer, s.peer, s2.peer} {
			pair.close()
		}
	})
	before.settled(t)
}
