package cluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"kproxy/internal/endpoints"
)

// A proxy that is stopped before its state was written for the first time, or while a
// change waits to be, writes it at its end.
func TestStateIsWrittenAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	file, err := openState(t.Context(), dir, "orders")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{log: slog.New(slog.DiscardHandler), state: file, changed: make(chan struct{}, 1), brokers: endpoints.New(nil, 0)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.KeepState(ctx)
	if _, err := os.Stat(filepath.Join(dir, "orders.json")); err != nil {
		t.Error(err)
	}
}
