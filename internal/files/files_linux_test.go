package files_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kproxy/internal/files"
)

// What has no end, or nothing at its other end, is no file.
func TestOnlyRegularFiles(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fifo: "is a named pipe", "/dev/zero": "is a device", "/dev/null": "is a device"} {
		if _, err := files.Read(t.Context(), name, 10); err == nil || !strings.Contains(err.Error(), name+" "+want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if err := files.Regular(fifo); err == nil {
		t.Error("a named pipe is a regular file")
	}
}

// A pipe that the process was given can be read, as a shell's <(command).
func TestGivenPipes(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_, _ = w.WriteString("text")
		_ = w.Close()
	}()
	name := "/proc/self/fd/" + fdName(r)
	if got, err := files.Read(t.Context(), name, 10); string(got) != "text" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func fdName(f *os.File) string {
	raw, err := f.SyscallConn()
	if err != nil {
		return ""
	}
	name := ""
	_ = raw.Control(func(fd uintptr) { name = strconv.Itoa(int(fd)) })
	return name
}
