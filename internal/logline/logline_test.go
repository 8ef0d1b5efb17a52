package logline

import (
	"io"
	"log/slog"
	"testing"
)

// The lines that are kept for a log that blocks are bounded.
func TestLinesAreBounded(t *testing.T) {
	reader, writer := io.Pipe() // a write waits for its reader
	var l Queue
	logger := slog.New(slog.NewTextHandler(writer, nil))
	for range 10 * maxLines {
		l.Add(Line{Log: logger, Message: "x"})
	}
	l.mu.Lock()
	if n := len(l.lines); n > maxLines {
		t.Errorf("%d lines are kept", n)
	}
	l.mu.Unlock()
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	l.Wait()
}
