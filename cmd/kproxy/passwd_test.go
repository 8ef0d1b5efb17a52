package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kproxy/internal/auth"
)

// A line of kproxy passwd admits its user, and no other.
func TestPasswd(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("wonderland\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var line bytes.Buffer
	if err := passwd(t.Context(), "alice", &passwdOptions{mechanism: auth.ScramSHA512, iterations: auth.MinIterations}, strings.NewReader("wonderland\nmore\n"), &line, nil); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"passwd", "bob", "--mechanism", "SCRAM-SHA-256", "--iterations", "4096", "--password-file", secret}, &line, os.Stderr); code != exitDone {
		t.Fatalf("got exit code %d", code)
	}
	if strings.Contains(line.String(), "wonderland") || strings.Count(line.String(), "\n") != 2 {
		t.Fatalf("got %s", line.String())
	}
	file := filepath.Join(dir, "users")
	if err := os.WriteFile(file, line.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewUsers(t.Context(), file, []string{auth.Plain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{"\x00alice\x00wonderland": true, "\x00bob\x00wonderland": true, "\x00alice\x00wonderland\n": false, "\x00carl\x00wonderland": false} {
		c, err := users.Begin(auth.Plain, auth.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Step(t.Context(), []byte(token)); (err == nil) != want {
			t.Errorf("%q: got %v", token, err)
		}
	}
}

func TestPasswdUsedWrongly(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("wonderland"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "passwd takes one user"},
		{[]string{"a:b", "--password-file", secret}, "no user's name"},
		{[]string{"a", "--iterations", "1", "--password-file", secret}, "1 iterations are not between 4096 and"},
		{[]string{"a", "--mechanism", "PLAIN", "--password-file", secret}, `"PLAIN"`},
	} {
		var stderr bytes.Buffer
		if code := run(append([]string{"passwd"}, tt.args...), &stderr, &stderr); code != exitUsage || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%v: got exit code %d and %s", tt.args, code, stderr.String())
		}
	}
}
