package cluster

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A named pipe in the place of a state file or of its lock keeps the proxy from
// starting, and is not waited for.
func TestStateIsNoNamedPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"orders.json", "stock.json.lock"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openState(t.Context(), dir, "stock"); err == nil || !strings.Contains(err.Error(), "stock.json.lock is a named pipe") {
		t.Errorf("the lock: got %v", err)
	}
	file, err := openState(t.Context(), dir, "orders")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.read(t.Context()); err == nil || !strings.Contains(err.Error(), "orders.json is a named pipe") {
		t.Errorf("the state: got %v", err)
	}
}
