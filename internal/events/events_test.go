package events_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// A health check each second, whatever the reason of its end, leaves the other events where they are. It has
// an event of its own every ten minutes, with the number of its repeats.
func TestProbesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ring events.Ring
		log := slog.New(ring.Handler(slog.DiscardHandler))
		log.Info("configuration applied")
		log.Warn("session closed", slog.String(logkey.Reason, "dial_failed"), slog.String(logkey.Client, "10.0.0.9:1"))
		const seconds = 3600
		for i := range seconds {
			client := fmt.Sprintf("10.0.0.7:%d", 30_000+i)
			log.Info("session closed", slog.String(logkey.Reason, "client_closed"), slog.String(logkey.Client, client), slog.Duration(logkey.Duration, time.Duration(i)),
				slog.Duration(logkey.Idle, time.Duration(i)), slog.Int64(logkey.BytesUp, 40))
			log.Warn("session closed", slog.String(logkey.Reason, "tls_failed"), slog.String(logkey.Client, client), slog.Any(logkey.Error, errors.New("read tcp 10.0.0.1:9092->"+client+": reset")))
			if i%10 == 0 {
				log.Warn("more sessions closed, as one before", slog.String(logkey.Reason, "foreign_protocol"), slog.Int(logkey.Connections, 10), slog.Duration(logkey.Duration, time.Duration(i)))
			}
			<-time.After(time.Second)
		}
		all, last, _ := ring.Since(0)
		if len(all) != 2+3*6 || last != 2+3*6 || all[0].Message != "configuration applied" || all[1].Get(logkey.Reason) != "dial_failed" {
			t.Fatalf("%d events, the last is %d: %+v", len(all), last, all[:2])
		}
		sum := map[string]int{}
		for _, e := range all[2:] {
			sum[e.Get(logkey.Reason)] += 1 + e.Repeats
			if e.Last.Sub(e.Time) < 9*time.Minute || e.Last.Sub(e.Time) >= 10*time.Minute {
				t.Errorf("%+v", e)
			}
			if e.Get(logkey.Reason) == "foreign_protocol" && e.Get(logkey.Connections) != "600" {
				t.Errorf("sessions are not added up: %+v", e)
			}
		}
		if sum["client_closed"] != seconds || sum["tls_failed"] != seconds || sum["foreign_protocol"] != seconds/10 {
			t.Errorf("%v", sum)
		}
	})
}

// Ends that differ in more than times and ports are events of their own, and so is every other line. A repeat
// wakes no reader, and changes nothing that a reader has.
func TestOthersAreNotMerged(t *testing.T) {
	var ring events.Ring
	log := slog.New(ring.Handler(slog.DiscardHandler))
	end := func(log *slog.Logger, reason, client string, bytes int) {
		log.Info("session closed", slog.String(logkey.Reason, reason), slog.String(logkey.Client, client), slog.Int(logkey.BytesUp, bytes), slog.Int(logkey.Connections, 1))
	}
	for range 2 {
		log.Info("a line without a reason")
	}
	orders, bills := log.With(slog.String(logkey.Cluster, "orders")), log.With(slog.String(logkey.Cluster, "bills"))
	end(orders, "client_closed", "10.0.0.7:1", 40)
	end(bills, "client_closed", "10.0.0.7:2", 40)
	end(orders, "client_reset", "10.0.0.7:3", 40)
	end(orders, "client_closed", "10.0.0.8:4", 40)
	end(orders, "client_closed", "10.0.0.7:5", 41)
	before, last, added := ring.Since(0)
	end(orders, "client_closed", "10.0.0.7:6", 40)
	select {
	case <-added:
		t.Error("a repeat wakes a reader")
	default:
	}
	if after, still, _ := ring.Since(0); len(before) != 7 || last != 7 || len(after) != 7 || still != 7 || before[2].Repeats != 0 || before[2].Get(logkey.Connections) != "1" ||
		after[2].Repeats != 1 || after[2].Get(logkey.Connections) != "2" || after[2].Get(logkey.Client) != "10.0.0.7:1" {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	for range 1000 {
		log.Info("a line without a reason") // it pushes the others out, and their kinds
	}
	end(orders, "client_closed", "10.0.0.7:7", 40)
	if all, _, _ := ring.Since(0); len(all) != 1000 || all[999].Get(logkey.Client) != "10.0.0.7:7" || all[999].Repeats != 0 {
		t.Errorf("%d events, the last is %+v", len(all), all[999])
	}
}
