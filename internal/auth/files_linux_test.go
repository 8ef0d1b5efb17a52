package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/internal/auth"
)

func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A secret in a named pipe or a device is a mistake, and is not read.
func TestSecretsAreRegularFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fifo(t), "/dev/zero"} {
		for _, conf := range []*auth.SASL{
			{Mechanism: auth.Plain, Username: "kproxy", Password: auth.Secret{File: name}},
			{Mechanism: auth.OAuthBearer, OAuth: auth.OAuth{TokenFile: name}},
			{Mechanism: auth.OAuthBearer, OAuth: auth.OAuth{TokenURL: "http://127.0.0.1:9", ClientID: "kproxy", ClientSecret: auth.Secret{File: name}}},
		} {
			m, err := auth.New(conf, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Begin(t.Context(), "b:9092"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%s in %s: got %v", conf.Mechanism, name, err)
			}
		}
	}
}

// A users file that becomes a named pipe is reported once, and blocks no login.
func TestUsersInANamedPipe(t *testing.T) {
	t.Parallel()
	pipe := fifo(t)
	if _, err := auth.NewUsers(t.Context(), pipe, []string{auth.Plain}, nil); err == nil || !strings.Contains(err.Error(), "is a named pipe") {
		t.Errorf("at the start: got %v", err)
	}
	line, err := auth.UserLine("alice", password, auth.ScramSHA256, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users")
	put(t, file, line)
	var failed atomic.Int64
	u, err := auth.NewUsers(t.Context(), file, []string{auth.Plain}, func(error) { failed.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(pipe, file); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !says(t, u, "alice", password) {
			t.Error("alice may come in yet")
		}
	}
	if failed.Load() != 1 {
		t.Errorf("it was reported %d times, want once", failed.Load())
	}
}

// A users file is read again when its content changes, even if its size and its time
// of modification do not: the old password is refused then.
func TestUsersOfTheSameSizeAndTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	line := func(text string) string {
		line, err := auth.UserLine("alice", text, auth.ScramSHA256, auth.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	long := time.Now().Add(-time.Hour)
	write := func(text string) {
		put(t, file, line(text))
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	u, err := auth.NewUsers(t.Context(), file, []string{auth.Plain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	write("new")
	if says(t, u, "alice", "old") || !says(t, u, "alice", "new") {
		t.Error("the old password is good yet, or the new one is not")
	}
}
