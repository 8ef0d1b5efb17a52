package cluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"kproxy/internal/endpoints"
)

// A proxy writes its state when it stops, also if the state was never written before or a
// change is not written yet.
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
