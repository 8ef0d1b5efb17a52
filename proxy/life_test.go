package proxy_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// Start and Shutdown may be called in any order, and from several goroutines.
func TestStartAndShutdownInAnyOrder(t *testing.T) {
	t.Parallel()
	made := func() *proxy.Proxy {
		var l lab
		p, err := proxy.New(l.config())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ctx := t.Context()
	t.Run("Start twice", func(t *testing.T) {
		p := made()
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(ctx); !errors.Is(err, proxy.ErrStarted) {
			t.Errorf("got %v", err)
		}
		promptly(t, func() { p.Shutdown(ctx) })
		if err := p.Start(ctx); !errors.Is(err, proxy.ErrClosed) {
			t.Errorf("after Shutdown: got %v", err)
		}
		promptly(t, func() { p.Shutdown(ctx) })
	})
	t.Run("Shutdown alone", func(t *testing.T) {
		p := made()
		promptly(t, func() { p.Shutdown(ctx) })
		if err := p.Start(ctx); !errors.Is(err, proxy.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Start that fails", func(t *testing.T) {
		var l lab
		conf := l.config()
		conf.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, net.ErrClosed }
		p, err := proxy.New(conf)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(ctx); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := p.Start(ctx); !errors.Is(err, proxy.ErrClosed) {
			t.Errorf("once more: got %v", err)
		}
		promptly(t, func() { p.Shutdown(ctx) })
	})
	t.Run("all at once", func(t *testing.T) {
		p := made()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { _ = p.Start(ctx) })
			all.Go(func() { p.Shutdown(ctx) })
		}
		promptly(t, all.Wait)
	})
}

// A client that reads of a session's end may connect at once: the session counts
// against no limit any more.
func TestTheEndIsReportedWhenTheLimitsAreFree(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.Clusters[0].Listeners[0].Limits.MaxConnections = 1
	ended := make(chan struct{})
	conf.Observer.SessionClosed = func(proxy.Session, proxy.SessionEnd) { ended <- struct{}{} }
	l.start(t, conf)
	for id := range int32(50) {
		c := l.dial(t, "bob.test:9092")
		c.send(id, heartbeat())
		s := b.take()
		s.request(kmsg.Heartbeat, id)
		s.answer(id, heartbeatAnswer())
		c.receive(id, heartbeatAnswer())
		c.close()
		s.close()
		<-ended // nothing is done between this and the next connection
	}
}
