package events_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"kproxy/internal/events"
	"kproxy/internal/logkey"
)

// Lines from level info on become events, also where the log itself wants less. Their texts are cleaned.
func TestEvents(t *testing.T) {
	var ring events.Ring
	var out bytes.Buffer
	log := slog.New(ring.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	listener := log.With(slog.String(logkey.Cluster, "orders"))
	listener.Debug("not kept")
	listener.Info("session closed", slog.String(logkey.Reason, "client_closed"), slog.Int(logkey.Node, 3))
	listener.WithGroup("g").Warn("bad\x1b[31m", slog.Any(logkey.Error, errors.New("two\nlines")))
	all, _, _ := ring.Since(0)
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	if e := all[0]; e.ID != 1 || e.Message != "session closed" || e.Get("cluster") != "orders" || e.Get("reason") != "client_closed" || e.Get("node") != "3" || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
	if e := all[1]; e.ID != 2 || e.Level != slog.LevelWarn || e.Message != `bad\x1b[31m` || e.Get("g.error") != `two\nlines` || e.Get("nothing") != "" {
		t.Errorf("%+v", e)
	}
	ring.Keep(false)
	if listener.Info("not kept"); listener.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("a line is wanted that is neither kept nor written")
	}
	if none, _, _ := ring.Since(2); len(none) > 0 {
		t.Errorf("%+v", none)
	}
	if got := out.String(); strings.Contains(got, "session closed") || strings.Count(got, "\n") != 1 {
		t.Errorf("the log has %q", got)
	}
}

// A ring keeps a bounded number of events of bounded size, and says by their ids that some are missing.
func TestEventsAreBounded(t *testing.T) {
	var ring events.Ring
	log := slog.New(ring.Handler(slog.DiscardHandler))
	many := make([]any, 0, 200)
	for range 100 {
		many = append(many, slog.String(logkey.Fix, strings.Repeat("x", 5000)))
	}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 500 {
				log.Info(strings.Repeat("m", 5000), many...)
			}
		})
	}
	writers.Wait()
	all, _, _ := ring.Since(0)
	if len(all) != 1000 || all[0].ID != 1001 || all[999].ID != 2000 {
		t.Fatalf("%d events, from %d", len(all), all[0].ID)
	}
	for _, e := range all {
		size := len(e.Message)
		for _, a := range e.Attributes {
			size += len(a.Value)
		}
		if size > 10_000 {
			t.Fatalf("an event has %d bytes", size)
		}
	}
	if some, _, _ := ring.Since(1990); len(some) != 10 || some[0].ID != 1991 {
		t.Errorf("%d events since 1990", len(some))
	}
	if all, last, _ := ring.Since(5000); len(all) != 1000 || last != 2000 {
		t.Errorf("%d events since 5000, the last is %d", len(all), last)
	}
}

// Events of level info do not push out those that an operator looks for.
func TestProblemsAreKept(t *testing.T) {
	var ring events.Ring
	log := slog.New(ring.Handler(slog.DiscardHandler))
	log.Info("first")
	for range 600 {
		log.Warn("problem")
	}
	for range 1500 {
		log.Info("session closed")
	}
	all, last, _ := ring.Since(0)
	if len(all) != 1500 || last != 2101 || all[0].ID != 102 || all[0].Message != "problem" || all[499].ID != 601 || all[500].ID != 1102 || all[1499].ID != 2101 {
		t.Errorf("%d events, from %+v to %d", len(all), all[0], last)
	}
	if some, _, _ := ring.Since(600); len(some) != 1001 || some[0].ID != 601 {
		t.Errorf("%d events since 600", len(some))
	}
}

// A reader that waits for a further event wakes when there is one.
func TestReadersWake(t *testing.T) {
	var ring events.Ring
	log := slog.New(ring.Handler(slog.DiscardHandler))
	var readers sync.WaitGroup
	for range 3 {
		_, _, added := ring.Since(0)
		readers.Go(func() { <-added })
	}
	log.Info("x")
	readers.Wait()
	all, _, added := ring.Since(1)
	select {
	case <-added:
		t.Error("it is woken without an event")
	default:
	}
	if len(all) > 0 {
		t.Errorf("%+v", all)
	}
}
