package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/portlab"
	"kproxy/internal/sharedsocket"
	"kproxy/internal/wait"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// The sessions end one after the other, spread over four fifths of the time, those that have been
// silent longest first.
func TestHandOverSpreadsTheEnds(t *testing.T) {
	needsPlainTCP(t) // one goroutine less for each session
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.DrainTimeout = 10 * time.Second
		l.start(t, conf)
		const sessions = 4
		clients, brokers := make([]client, sessions), make([]brokerConn, sessions)
		for i := range sessions {
			clients[i], brokers[i] = l.session(t, b)
			wait.Sleep(t.Context(), time.Second)
		}
		// The first one speaks last.
		clients[0].send(1, heartbeat())
		brokers[0].request(kmsg.Heartbeat, 1)
		brokers[0].answer(1, heartbeatAnswer())
		clients[0].receive(1, heartbeatAnswer())
		wait.Sleep(t.Context(), time.Second)

		start := time.Now()
		done := make(chan int)
		go func() { done <- l.proxy.HandOver(context.Background(), nil) }()
		for i, n := range []int{1, 2, 3, 0} {
			endedByProxy(clients[n], brokers[n])
			if got, want := time.Since(start), time.Duration(i+1)*2*time.Second; got < want || got > want+100*time.Millisecond {
				t.Errorf("session %d ended after %v, want %v", n, got, want)
			}
		}
		if cut := <-done; cut != 0 {
			t.Errorf("%d sessions were cut", cut)
		}
	})
}

// A session that is owed a response at the end is cut, and one in a hurry ends all at once.
func TestHandOverEnds(t *testing.T) {
	needsPlainTCP(t)
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		c, s := l.open(t)
		c.send(1, heartbeat())
		s.request(kmsg.Heartbeat, 1)
		start := time.Now()
		if cut := l.proxy.HandOver(t.Context(), nil); cut != 1 {
			t.Errorf("cut %d sessions, want 1", cut)
		}
		if took := time.Since(start); took != config.DefaultDrainTimeout {
			t.Errorf("it took %v, want %v", took, config.DefaultDrainTimeout)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		c1, s1 := l.session(t, b)
		wait.Sleep(t.Context(), time.Second) // it is silent for longer
		c2, s2 := l.session(t, b)
		start, hurry, done := time.Now(), make(chan struct{}), make(chan int)
		go func() { done <- l.proxy.HandOver(context.Background(), hurry) }()
		endedByProxy(c1, s1)
		first := time.Since(start)
		close(hurry)
		endedByProxy(c2, s2)
		if cut, took := <-done, time.Since(start)-first; cut != 0 || took > time.Second {
			t.Errorf("cut %d sessions after %v", cut, took)
		}
	})
}

// A proxy that is open asks the brokers, and serves no client before Accept.
func TestOpenAcceptsNothing(t *testing.T) {
	t.Parallel()
	needsPlainTCP(t)
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	before := false
	conf.BeforeState = func(context.Context) error { before = true; return nil }
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.proxy = p
	t.Cleanup(func() { stop(t, p) })
	if err := p.Open(t.Context()); !errors.Is(err, proxy.ErrStarted) {
		t.Errorf("a second Open: %v", err)
	}
	l.outside.Alias("bob.test:9092", "127.0.0.1:9092")
	l.learned(t, 0)
	c := l.dial(t, "bob.test:9092")
	c.send(0, heartbeat())
	c.silent()
	if n := p.Sessions(); n != 0 || !before {
		t.Errorf("%d sessions before Accept; BeforeState was called: %t", n, before)
	}
	p.Accept()
	p.Accept()
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
}

// The ids of a process's connections are far above those of the process from which it takes over.
func TestIDsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ above, next uint64 }{{0, 2_000_000}, {999_999, 3_000_000}, {2_000_000, 4_000_000}} {
		var l lab
		b := l.startBroker(t, 0, 0)
		conf := l.config()
		conf.IDsAbove = tt.above
		l.start(t, conf)
		c := l.dial(t, "bob.test:9092")
		c.send(0, heartbeat())
		b.take().request(kmsg.Heartbeat, 0)
		id := l.connection(t).ID
		if id != tt.above+1 {
			t.Errorf("the first id above %d is %d", tt.above, id)
		}
		if one, ok := l.proxy.Connection(id); !ok || one.ID != id || one.State != proxy.Open || one.Listener != "bob" {
			t.Errorf("connection %d: %+v, %t", id, one, ok)
		}
		if _, ok := l.proxy.Connection(id + 1); ok {
			t.Errorf("there is a connection %d", id+1)
		}
		if got := l.proxy.NextIDsAbove(); got != tt.next {
			t.Errorf("after %d: the next process begins above %d, want %d", id, got, tt.next)
		}
	}
}

// An error of BeforeState is one of Open, and leaves no socket.
func TestOpenFailsBeforeState(t *testing.T) {
	t.Parallel()
	var l lab
	conf := l.config()
	failed := errors.New("the other process")
	conf.BeforeState = func(context.Context) error { return failed }
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if conn, err := l.outside.Dial(t.Context(), "tcp", "127.0.0.1:9092"); err == nil {
		_ = conn.Close()
		t.Error("a socket is open")
	}
	promptly(t, func() { p.Shutdown(t.Context()) })
}

// taking returns the configuration of a proxy that takes the sockets and the state of another.
func taking(t *testing.T, from *proxy.Proxy, conf proxy.Config) *proxy.Proxy {
	t.Helper()
	sockets := map[string]net.Listener{}
	for _, s := range from.Sockets() {
		var err error
		if sockets[s.Address], err = sharedsocket.Duplicate(s.Listener); err != nil {
			t.Fatal(err)
		}
	}
	conf.Listen = func(_ context.Context, _, address string) (net.Listener, error) {
		socket := sockets[config.BoundForm(address)]
		if socket == nil {
			return nil, fmt.Errorf("there is no socket %s", address)
		}
		return proxy.Adopt(socket), nil
	}
	conf.BeforeState = func(context.Context) error { return from.ReleaseState() }
	p, err := proxy.New(&conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p) })
	return p
}

// versions asks an address for the versions of the APIs, on a connection of its own.
func versions(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// ApiVersions v0, correlation id 7, client id "test".
	if _, err := conn.Write([]byte("\x00\x00\x00\x0e" + "\x00\x12\x00\x00\x00\x00\x00\x07\x00\x04test")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 4096))
	return err
}

// Clients that connect during a hand-over are all served. The state goes over, and comes back.
func TestHandOverUnderConnections(t *testing.T) {
	needsPlainTCP(t)
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	host, dir := portlab.Host(t), t.TempDir()
	conf := proxy.Config{Config: config.Config{
		StateDir: dir, DrainTimeout: time.Second,
		Clusters: []config.Cluster{{
			Name: "orders", Bootstrap: brokers.ListenAddrs(),
			Listeners: []config.Listener{{Name: "fred", Bind: host + ":9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9104}}}},
		}},
	}}
	now, err := proxy.New(&conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := now.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, now) })

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var served atomic.Int64
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if err := versions(context.WithoutCancel(ctx), host+":9092"); err != nil {
					t.Errorf("a client: %v", err)
					return
				}
				served.Add(1)
			}
		})
	}
	for range 5 {
		next := taking(t, now, conf)
		for end, want := time.Now().Add(patience), served.Load()+50; served.Load() < want && time.Now().Before(end); {
			wait.Sleep(t.Context(), time.Millisecond)
		}
		next.Accept()
		if cut := now.HandOver(t.Context(), nil); cut != 0 {
			t.Errorf("%d sessions were cut", cut)
		}
		now = next
	}
	cancel()
	clients.Wait()
	t.Logf("%d clients were served", served.Load())
}

// Another proxy cannot have the state before ReleaseState, nor after RetakeState, and changes of
// the map meanwhile are written then.
func TestReleaseState(t *testing.T) {
	t.Parallel()
	needsPlainTCP(t) // kfake has no TLS here
	var l lab
	l.startKfake(t, 2)
	conf := l.config()
	conf.StateDir = t.TempDir()
	l.start(t, conf)
	known(t, l.proxy, 2)
	again := func() error {
		var theirs lab
		c := theirs.config()
		c.StateDir = conf.StateDir
		p, err := proxy.New(c)
		if err != nil {
			return err
		}
		err = p.Open(t.Context())
		stop(t, p)
		return err
	}
	inUse := func(when string) {
		t.Helper()
		if err := again(); err == nil || !strings.Contains(err.Error(), "in use by another kproxy") {
			t.Errorf("%s: %v", when, err)
		}
	}
	inUse("before")
	if err := errors.Join(l.proxy.ReleaseState(), l.proxy.ReleaseState()); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Errorf("released: %v", err)
	}
	file := filepath.Join(conf.StateDir, "orders.json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.proxy.RetakeState(), l.proxy.RetakeState()); err != nil {
		t.Fatal(err)
	}
	inUse("retaken")
	for end := time.Now().Add(patience); ; {
		if _, err := os.Stat(file); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the state is not written again")
		}
		wait.Sleep(t.Context(), time.Millisecond)
	}
}
