package viatest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/via"
	"kproxy/internal/via/viassh"
)

// File is a file of the test, with content.
func File(tb testing.TB, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Exchange writes text, and reads it again.
func Exchange(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		tb.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

// Outcome dials in vain, and returns the outcome and the error.
func Outcome(tb testing.TB, ctx context.Context, d *via.Dialer, address string) (via.Outcome, error) { //nolint:revive // tb comes first in tests
	tb.Helper()
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		tb.Fatalf("a connection to %s, want an error", address)
	}
	e, ok := errors.AsType[*via.Error](err)
	if !ok {
		tb.Fatalf("%T %v, want a *via.Error", err, err)
	}
	if bytes.Contains([]byte(err.Error()), []byte(Password)) {
		tb.Errorf("the password is in the error: %v", err)
	}
	return e.Outcome, err
}

// SSHConfig leads through g, whose key is host's, with a login by key.
func SSHConfig(tb testing.TB, g *Gate, host, key Key) via.Config {
	tb.Helper()
	return via.Config{
		SSH:        viassh.New,
		URL:        "ssh://" + User + "@" + g.Address,
		KeyFile:    File(tb, key.PEM),
		KnownHosts: File(tb, knownhosts.Line([]string{knownhosts.Normalize(g.Address)}, host.Signer.PublicKey())+"\n"),
	}
}
