package tlsconf

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A named pipe in the place of a file is reported as any other unreadable file, at the
// start and while files are watched.
func TestNamedPipesAreNoFiles(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]ServerConfig{
		"a certificate": {Certs: []KeyPair{{Cert: fifo, Key: fifo}}},
		"a device":      {Certs: []KeyPair{{Cert: "/dev/zero", Key: "/dev/zero"}}},
	} {
		if _, err := NewServer(c, Events{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
