package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// repeatLog is a listener whose log a test reads.
func repeatLog() (*listener, *bytes.Buffer) {
	var log bytes.Buffer
	return &listener{
		cluster: &servedCluster{name: "orders"},
		name:    "bob",
		key:     "clusters.orders.listeners.bob",
		log:     slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := repeatLog()
		var r repeats
		const text = "the client asks for b9"
		e := ending{listener: l, reason: TLSUnknownName, source: netip.MustParseAddr("10.0.0.1")}
		other := ending{listener: l, reason: ForeignProtocol, source: netip.MustParseAddr("10.0.0.1")}
		if r.merges(e, text) || r.merges(other, "") {
			t.Error("the first of a kind is merged")
		}
		for range 500 {
			if !r.merges(e, text) {
				t.Error("one of a flood has a line")
			}
		}
		r.report(false)
		if log.Len() > 0 {
			t.Errorf("at once: %s", log)
		}
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		for _, part := range []string{"level=WARN", "more sessions closed, as one before", "reason=tls_unknown_sni", "source=10.0.0.1", `error="the client asks for b9"`, "connections=500", "duration=10s"} {
			if !strings.Contains(log.String(), part) || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("got %s, want one line with %s", log, part)
			}
		}
		log.Reset()
		if !r.merges(e, text) {
			t.Error("the flood goes on, and one has a line")
		}
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		time.Sleep(repeatInterval) //nolint:forbidigo // the bubble's own time
		r.report(false)
		if n := strings.Count(log.String(), "\n"); n != 1 || len(r.all) != 0 {
			t.Errorf("%d lines, and %d kinds are kept; want the last one logged and then forgotten", n, len(r.all))
		}
		if r.merges(e, text) {
			t.Error("long after, the first of a kind is merged")
		}
	})
}

// Neither the memory of repeats nor the log grows with the number of addresses.
func TestRepeatsOfManySources(t *testing.T) {
	l, log := repeatLog()
	var r repeats
	lines := 0
	for i := range 100_000 {
		a := [16]byte{0x20, 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		if !r.merges(ending{listener: l, reason: FirstRequestTimeout, source: netip.AddrFrom16(a)}, "") {
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

// The causes of one source have lines of their own at a listener, so that one does not hide another. A source that makes
// up many leaves the lines of others alone. Causes that differ in numbers are one.
func TestRepeatsOfOneSource(t *testing.T) {
	l, log := repeatLog()
	var r repeats
	from := func(source string) ending {
		return ending{listener: l, reason: ClientLogin, source: netip.MustParseAddr(source)}
	}
	lines := 0
	for i := range 1000 {
		if !r.merges(from("10.0.0.1"), "user "+strings.Repeat("x", i)+" has another password") {
			lines++
		}
	}
	if want := maxOfSource + 1; lines != want {
		t.Errorf("%d lines for one source, want %d", lines, want)
	}
	if r.merges(from("10.0.0.2"), "read tcp 10.0.0.9:9092->10.0.0.2:40000: reset") {
		t.Error("a source's causes hide another's")
	}
	if !r.merges(from("10.0.0.2"), "read tcp 10.0.0.9:9092->10.0.0.2:40001: reset") {
		t.Error("another port is another cause")
	}
	r.report(true)
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, fmt.Sprintf("source=10.0.0.1 connections=%d", 1000-maxOfSource-1)) ||
		!strings.Contains(got, `source=10.0.0.2 error="read tcp 10.0.0.9:9092->10.0.0.2:40001: reset" connections=1`) {
		t.Errorf("got %s", got)
	}
}
