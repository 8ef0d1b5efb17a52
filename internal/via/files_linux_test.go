package via_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kproxy/internal/via"
	"kproxy/internal/via/viassh"
	"kproxy/internal/via/viatest"
)

// A named pipe without a writer is a mistake, and is not read.
func TestNamedPipesAreNoFiles(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	key := viatest.File(t, viatest.NewKey(t).PEM)
	for name, c := range map[string]via.Config{
		via.KeyPasswordFile: {URL: "socks5://u@host", PasswordFile: fifo},
		via.KeyKeyFile:      {URL: "ssh://u@host", KeyFile: fifo},
		via.KeyKnownHosts:   {URL: "ssh://u@host", KeyFile: key, KnownHosts: fifo},
	} {
		c.SSH = viassh.New
		if _, err := via.New(c); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "is a named pipe") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
