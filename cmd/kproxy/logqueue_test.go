package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/logkey"
)

// stuckWriter blocks until it is freed.
type stuckWriter struct {
	free chan struct{}

	mu   sync.Mutex
	text strings.Builder
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.free
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// A writer that blocks costs 50 ms once, and then lines, whose number is logged where
// they are missing.
func TestLogQueueDrops(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		synctest.Test(t, func(t *testing.T) {
			w := &stuckWriter{free: make(chan struct{})}
			settings, err := newLogSettings(logKeys{Level: "error", Format: format})
			if err != nil {
				t.Fatal(err)
			}
			q := newLogQueue(w, settings)
			logger := newLogger(q, settings)
			const inFlight, more = 1, 1000
			begin := time.Now()
			for i := range inFlight + maxQueuedLines + more {
				logger.Error("line", slog.Int(logkey.Node, i))
				if i == 0 {
					synctest.Wait() // its writer has it
				}
			}
			if took := time.Since(begin); took != roomWait {
				t.Errorf("%v were waited, want %v", took, roomWait)
			}
			close(w.free)
			synctest.Wait()
			logger.Error("behind")
			q.close()
			logger.Error("too late")

			lines := strings.Split(strings.TrimSuffix(w.text.String(), "\n"), "\n")
			if len(lines) != inFlight+maxQueuedLines+2 {
				t.Fatalf("%d lines", len(lines))
			}
			for i, line := range lines {
				want := fmt.Sprint("line|", i)
				switch i {
				case inFlight + maxQueuedLines:
					want = fmt.Sprint("lines were left out: the log was not read in time|", more)
				case inFlight + maxQueuedLines + 1:
					want = "behind|"
				}
				if got := messageAndNumber(t, format, line); got != want {
					t.Fatalf("line %d: got %s, want %s", i, line, want)
				}
			}
		})
	}
}

func messageAndNumber(t *testing.T, format, line string) string {
	t.Helper()
	if format == "json" {
		var fields struct {
			Msg  string
			Node *int
			Left *int `json:"left_out"`
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		number := ""
		for _, n := range []*int{fields.Node, fields.Left} {
			if n != nil {
				number = fmt.Sprint(*n)
			}
		}
		return fields.Msg + "|" + number
	}
	_, text, _ := strings.Cut(line, " msg=")
	message, number, _ := strings.Cut(text, " node=")
	message, left, ok := strings.Cut(message, " left_out=")
	if ok {
		number = left
	}
	return strings.Trim(message, `"`) + "|" + number
}

// A line that is longer than the queue's limit is written, too, and the lines together
// are bounded.
func TestLogQueueBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{free: make(chan struct{})}
		q := newLogQueue(w, &logSettings{})
		line := []byte(strings.Repeat("x", maxQueuedBytes/2+1))
		for range 4 {
			_, _ = q.Write(line)
			synctest.Wait()
		}
		close(w.free)
		q.close()
		if got := w.text.String(); strings.Count(got, "x") != 2*len(line) || !strings.HasSuffix(got, "left_out=2\n") {
			t.Errorf("got %d bytes that end with %q", len(got), got[len(got)-50:])
		}
	})
}

// At the end, lines that can be written are written. If they cannot, the end does not
// wait long.
func TestLogQueueCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe() // nothing reads it
		q := newLogQueue(w, &logSettings{})
		_, _ = q.Write([]byte("line\n"))
		begin := time.Now()
		q.close()
		if took := time.Since(begin); took != flushWait {
			t.Errorf("close waited %v, want %v", took, flushWait)
		}
		_ = r.Close()
		<-q.ended
	})
}
