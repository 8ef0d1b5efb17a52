package proxy

import (
	"net"
	"testing"
	"time"
)

// startCrowded starts a Proxy with maxWaiters sessions that wait for work to be
// done, and connects three clients. It returns when no more of them are accepted.
func startCrowded(t *testing.T) *Proxy {
	t.Helper()
	p := startKproxy(t, "127.0.0.1:1", -1)
	p.waiters.n.Store(maxWaiters)
	for range 3 {
		conn, err := net.Dial("tcp", p.listenerAddress())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	<-time.After(50 * time.Millisecond)
	if got := len(p.live()); got > 1 { // Accept may have been called before
		t.Errorf("%d sessions are open while %d wait, want 1 at most", got, maxWaiters)
	}
	return p
}

// While many sessions wait for work to be done, further connections wait in the
// socket's queue. They are served when fewer wait.
func TestManyWaitersStopAccepting(t *testing.T) {
	p := startCrowded(t)
	p.waiters.n.Store(maxWaiters - 1)
	for deadline := time.Now().Add(10 * time.Second); len(p.live()) != 3; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are open, want 3", len(p.live()))
		}
	}
}

// The log says that accepting pauses once a minute, and metrics count every pause.
func TestPausesAreTold(t *testing.T) {
	var w waiters
	w.n.Store(maxWaiters)
	if !w.pause() || w.pause() {
		t.Error("the log is not told of the first pause alone")
	}
	w.warned.Add(-int64(alarmInterval))
	if !w.pause() {
		t.Error("the log is not told again after alarmInterval")
	}
	if got := w.pauses.Load(); got != 3 {
		t.Errorf("%d pauses are counted, want 3", got)
	}
	p := startCrowded(t)
	if s := p.Stats(); s.Waiting != maxWaiters || s.AcceptPauses == 0 {
		t.Errorf("Stats has %d waiting and %d pauses, want %d and some", s.Waiting, s.AcceptPauses, maxWaiters)
	}
}

func TestShutdownWaitsForNoWaiters(t *testing.T) {
	startCrowded(t).Shutdown(t.Context())
}
