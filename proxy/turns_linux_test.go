package proxy

import (
	"net"
	"testing"
	"time"

	"kproxy/internal/admission"
	"kproxy/internal/turns"
)

// startCrowded starts a Proxy with turns.Max sessions that wait for work to be
// done, and connects three clients. It returns when no more of them are accepted.
func startCrowded(t *testing.T) *Proxy {
	t.Helper()
	p := startKproxy(t, "127.0.0.1:1", -1)
	p.waiters.Add(turns.Max)
	for range 3 {
		conn, err := net.Dial("tcp", p.listenerAddress())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	<-time.After(50 * time.Millisecond)
	if got := len(p.live()); got > 1 { // Accept may have been called before
		t.Errorf("%d sessions are open while %d wait, want 1 at most", got, turns.Max)
	}
	return p
}

// While many sessions wait for work to be done, further connections wait in the
// socket's queue. They are served when fewer wait.
func TestManyWaitersStopAccepting(t *testing.T) {
	p := startCrowded(t)
	p.waiters.Add(-1)
	for deadline := time.Now().Add(10 * time.Second); len(p.live()) != 3; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are open, want 3", len(p.live()))
		}
	}
}

// The log says that accepting pauses once a minute, and metrics count every pause.
func TestPausesAreTold(t *testing.T) {
	var pauses acceptPauses
	if !pauses.add() || pauses.add() {
		t.Error("add must report the first pause, and not the second")
	}
	pauses.warned.Add(-int64(admission.AlarmInterval))
	if !pauses.add() {
		t.Error("add reports no pause after alarmInterval")
	}
	if got := pauses.count.Load(); got != 3 {
		t.Errorf("%d pauses are counted, want 3", got)
	}
	p := startCrowded(t)
	if s := p.Stats(); s.Waiting != turns.Max || s.AcceptPauses == 0 {
		t.Errorf("Stats has %d waiting and %d pauses, want %d and some", s.Waiting, s.AcceptPauses, turns.Max)
	}
}

func TestShutdownWaitsForNoWaiters(t *testing.T) {
	startCrowded(t).Shutdown(t.Context())
}
