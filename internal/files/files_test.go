package files_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"kproxy/internal/files"
)

func put(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRead(t *testing.T) {
	t.Parallel()
	file := put(t, "ten", "0123456789")
	link := file + ".link"
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		name string
		most int64
		want string
	}{
		{file, 10, ""},
		{link, 10, ""},
		{file, 9, "has more than 9 bytes"},
		{filepath.Dir(file), 10, "is a directory, not a regular file"},
	} {
		got, err := files.Read(t.Context(), tt.name, tt.most)
		if tt.want == "" && (err != nil || string(got) != "0123456789") {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.name) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if _, err := files.Read(t.Context(), file+".none", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"secret": "secret", "secret\n": "secret", "secret\r\n": "secret", "\xef\xbb\xbfsecret\r\n": "secret", " a b \n\n": " a b \n", //nolint:gocritic // blanks are kept
		"": "", "\n": "", "\xef\xbb\xbf\n": "",
	} {
		got, err := files.ReadSecret(t.Context(), put(t, "secret", text), 100)
		if got != want || errors.Is(err, files.ErrEmpty) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

// A call that hangs returns when the context ends, and only one call at a time uses the
// file, however many callers there are.
func TestDoIsLeftInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		started := 0
		stuck := func() (int, error) {
			started++
			<-hang
			return started, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := files.Do(ctx, "stuck", stuck); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the end of the context", err)
				}
			})
		}
		synctest.Wait()
		if _, err := files.Do(t.Context(), "another", func() (int, error) { return 1, nil }); err != nil {
			t.Errorf("another file waits with the one that hangs: %v", err)
		}
		cancel()
		all.Wait()
		if started != 1 {
			t.Errorf("%d calls went to the file, want 1", started)
		}
		if _, err := files.Do(t.Context(), "stuck", stuck); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a deadline: got %v, want that of the package", err)
		}
		close(hang)
		synctest.Wait()
		if n, err := files.Do(t.Context(), "stuck", stuck); n != 2 || err != nil {
			t.Errorf("once it does not hang: got %d, %v", n, err)
		}
	})
}
