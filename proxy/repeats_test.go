package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// repeatLog is a listener whose log a test reads.
func repeatLog() (*listener, *bytes.Buffer) {
	var log bytes.Buffer
	return &listener{
		cluster: &cluster{conf: &Cluster{Name: "orders"}}, conf: &Listener{Name: "bob"},
		log: slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := repeatLog()
		var r repeats
		e := ending{l, TLSUnknownName, source(1), ""}
		other := ending{l, ForeignProtocol, source(1), ""}
		if r.merges(e) || r.merges(other) {
			t.Error("the first of a kind is merged")
		}
		for range 500 {
			if !r.merges(e) {
				t.Error("one of a flood has a line")
			}
		}
		r.report(false)
		if log.Len() > 0 {
			t.Errorf("at once: %s", log)
		}
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		for _, part := range []string{"level=WARN", "more sessions closed, as one before", "reason=tls_unknown_sni", "source=10.0.0.1", "connections=500", "duration=10s"} {
			if !strings.Contains(log.String(), part) || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("got %s, want one line with %s", log, part)
			}
		}
		log.Reset()
		if !r.merges(e) {
			t.Error("the flood goes on, and one has a line")
		}
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		if n := strings.Count(log.String(), "\n"); n != 1 || len(r.all) != 0 {
			t.Errorf("%d lines, and %d kinds are kept; want the last one told and then forgotten", n, len(r.all))
		}
		if r.merges(e) {
			t.Error("long after, the first of a kind is merged")
		}
	})
}

// Neither what is kept nor what is logged grows with the number of addresses.
func TestRepeatsOfManySources(t *testing.T) {
	l, log := repeatLog()
	var r repeats
	lines := 0
	for i := range 100_000 {
		a := [16]byte{0x20, 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		if !r.merges(ending{l, FirstRequestTimeout, netip.AddrFrom16(a), ""}) {
			lines++
		}
	}
	r.report(true)
	if lines += strings.Count(log.String(), "\n"); lines > maxRepeats+1 || len(r.all) > maxRepeats+1 {
		t.Errorf("%d lines, and %d kinds are kept", lines, len(r.all))
	}
	if want := fmt.Sprintf("connections=%d", 100_000-maxRepeats); !strings.Contains(log.String(), want) {
		t.Errorf("got %s, want %s", log, want)
	}
}

// blocked is a log that takes nothing until the test says so.
type blocked struct {
	began, release chan struct{}
	once           sync.Once
}

func (b *blocked) Write(p []byte) (int, error) {
	b.once.Do(func() { close(b.began) })
	<-b.release
	return len(p), nil
}

// A log that takes nothing stops neither the connection that a line is about nor any
// other.
func TestAlarmsDoNotWaitForTheLog(t *testing.T) {
	b := &blocked{began: make(chan struct{}), release: make(chan struct{})}
	var a admission
	logger := slog.New(slog.NewTextHandler(b, nil))
	a.limit(logger, 0)
	refusing := a.newGate(logger, "bob", networks{}, balancers{}, &ListenerLimits{MaxConnections: 1})
	other := a.newGate(logger, "fred", networks{}, balancers{}, &ListenerLimits{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			refusing.enter(source(1))
		}
		<-b.began
		for range 3 {
			refusing.enter(source(1))
			other.enter(source(2))
		}
		a.settle()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("connections wait for the log")
	}
	close(b.release)
	a.lines.wait()
}

// What is kept for such a log is bounded.
func TestLogLinesAreBounded(t *testing.T) {
	b := &blocked{began: make(chan struct{}), release: make(chan struct{})}
	var l logLines
	logger := slog.New(slog.NewTextHandler(b, nil))
	for range 10 * maxLogLines {
		l.add(logLine{log: logger, message: "x"})
	}
	l.mu.Lock()
	if n := len(l.lines); n > maxLogLines {
		t.Errorf("%d lines are kept", n)
	}
	l.mu.Unlock()
	close(b.release)
	l.wait()
}
