package admission

import (
	"io"
	"log/slog"
	"testing"
	"time"
)

// A log that blocks stops no connection.
func TestAlarmsDoNotWaitForTheLog(t *testing.T) {
	reader, writer := io.Pipe() // a write waits for its reader
	var a Gates
	logger := slog.New(slog.NewTextHandler(writer, nil))
	a.Init(logger, 0)
	refusing := a.NewGate(logger, "bob", Networks{}, Balancers{}, Limits{MaxConnections: 1})
	other := a.NewGate(logger, "fred", Networks{}, Balancers{}, Limits{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			refusing.Enter(source(1))
		}
		_, _ = io.ReadFull(reader, make([]byte, 1)) // the first line is being written
		for range 3 {
			refusing.Enter(source(1))
			other.Enter(source(2))
		}
		a.Settle()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("connections wait for the log")
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	a.Lines.Wait()
}
