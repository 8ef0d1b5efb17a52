package files_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/internal/files"
)

// A device without an end, or a pipe without another end, is refused.
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

// An inherited pipe can be read, such as a shell's <(command).
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

// A file that a person names may be a named pipe, also one to which nothing has been
// written yet. The read ends with its context, and is bounded.
func TestReadArgument(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if !files.IsPipe(t.Context(), fifo) || files.IsPipe(t.Context(), "/dev/null") || files.IsPipe(t.Context(), fifo+".none") {
		t.Error("a named pipe is none, or something else is one")
	}
	var writing sync.WaitGroup
	write := func(text string) {
		writing.Go(func() {
			w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = w.WriteString(text)
			_ = w.Close()
		})
	}
	write("secret\n")
	if got, err := files.ReadSecretArgument(t.Context(), fifo, 10); got != "secret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	writing.Wait()
	write("0123456789")
	if _, err := files.ReadArgument(t.Context(), fifo, 9); err == nil || !strings.Contains(err.Error(), "has more than 9 bytes") {
		t.Errorf("got %v for a pipe with too much in it", err)
	}
	writing.Wait()
	for name, want := range map[string]string{t.TempDir(): "is a directory", "/dev/zero": "is a device"} {
		if _, err := files.ReadArgument(t.Context(), name, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := files.ReadArgument(ctx, fifo, 10); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "should write to the pipe") {
		t.Errorf("got %v for a pipe to which nothing is written", err)
	}
	write("") // the read goes on
	writing.Wait()
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
