package proxy_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kproxy/proxy"
)

// Probe asks a cluster at most once in ten seconds, and Health has the result.
func TestProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		l.learned(t, 0)
		<-time.After(time.Second)
		for range 5 {
			l.proxy.Probe(t.Context(), "orders")
		}
		if got := b.asked.Load(); got != 1 {
			t.Errorf("the cluster was asked %d times within a second", got)
		}
		<-time.After(10 * time.Second)
		l.proxy.Probe(t.Context(), "orders")
		if got := b.asked.Load(); got != 2 {
			t.Errorf("the cluster was asked %d times within 11 seconds", got)
		}
		h := l.proxy.Health().Clusters[0]
		if !h.Up || time.Since(h.LastAnswer) != 0 || h.LastError != nil {
			t.Errorf("after an answer: got %+v", h)
		}

		b.stop()
		l.vpc.Remove(brokerName(0))
		<-time.After(10 * time.Second)
		l.proxy.Probe(t.Context(), "orders")
		h = l.proxy.Health().Clusters[0]
		if h.Up || time.Since(h.LastFailed) != 0 || h.LastError == nil || h.LastAnswer.IsZero() {
			t.Errorf("after a failure: got %+v", h)
		}
		l.proxy.Probe(t.Context(), "another") // no cluster has this name
	})
}

// After a failure kproxy asks by itself until the cluster responds, and no longer: perhaps no client comes.
func TestAsksWhileDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		b := l.startBroker(t, 0, 0)
		l.start(t, l.config())
		l.learned(t, 0)
		<-time.After(time.Hour)
		if got := b.asked.Load(); got != 1 {
			t.Errorf("the cluster was asked %d times, and responded at once", got)
		}
		b.stop()
		l.vpc.Remove(brokerName(0))
		l.proxy.Probe(t.Context(), "orders")
		<-time.After(time.Minute)
		if h := l.proxy.Health().Clusters[0]; h.Up || time.Since(h.LastFailed) > 21*time.Second {
			t.Errorf("without a broker: got %+v", h)
		}
		b = l.startBroker(t, 0, 0)
		<-time.After(21 * time.Second)
		if h := l.proxy.Health().Clusters[0]; !h.Up {
			t.Errorf("the broker is back: got %+v", h)
		}
		asked := b.asked.Load()
		<-time.After(time.Hour)
		if got := b.asked.Load(); asked != 1 || got != asked {
			t.Errorf("the broker that is back was asked %d times, then %d", asked, got-asked)
		}
	})
}

// A server may count the logins that it refuses, and lock the user: kproxy does not try on and on by itself.
func TestARefusedLoginIsTriedRarely(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lab
		l.inMemory()
		l.door = newDoor()
		b := l.liveBroker(t, 0)
		b.become(0, brokersAt(0))
		conf := l.door.logsIn(l.config())
		conf.Clusters[0].SASL.AllowPlaintext = true
		l.start(t, conf)
		l.learned(t, 0)
		l.door.wants("another")
		<-time.After(time.Minute)
		l.proxy.Probe(t.Context(), "orders")
		before := len(l.dials.entries())
		<-time.After(14 * time.Minute)
		if n := len(l.dials.entries()) - before; n < 10 || n > 15 {
			t.Errorf("a login that is refused was tried %d times in 14 minutes", n)
		}
		l.door.wants(secretPassword)
		<-time.After(2 * time.Minute)
		if !l.proxy.Health().Clusters[0].Up {
			t.Error("the login is good again, and the cluster is not up")
		}
	})
}

// Health tells how far a Proxy is.
func TestHealth(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0)
	b.names = nil // it wants a login before it says who the brokers are
	conf := l.config()
	p, err := proxy.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	p.Probe(t.Context(), "orders")
	if h := p.Health(); h.Bound || h.Stopping || h.Clusters[0].Up {
		t.Errorf("before Start: got %+v", h)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Probe(t.Context(), "orders")
	if h := p.Health(); !h.Bound || h.Stopping || !h.Clusters[0].Up || h.Clusters[0].Brokers != 0 {
		t.Errorf("after Start: got %+v", h)
	}
	p.MarkNotReady()
	if !p.Health().Stopping {
		t.Error("after MarkNotReady: not stopping")
	}
	p.Shutdown(t.Context())
	p.Probe(t.Context(), "orders")
	if h := p.Health(); !h.Stopping {
		t.Errorf("after Shutdown: got %+v", h)
	}
}
