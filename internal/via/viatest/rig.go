package viatest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
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

// Dialer returns the Dialer of a configuration. It is closed at the test's end.
func Dialer(t *testing.T, c via.Config) *via.Dialer {
	t.Helper()
	d, err := via.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Refused checks that a configuration is refused because of a key, by an error that mentions
// a text, has a fix, and repeats no secret.
func Refused(t *testing.T, c via.Config, key, mentions string) {
	t.Helper()
	_, err := via.New(c)
	e, ok := errors.AsType[*via.ConfigError](err)
	if !ok || e.Key != key || e.Fix == "" || !strings.Contains(e.Error(), mentions) {
		t.Errorf("%+v: got %v, want an error of %s that mentions %q", c, err, key, mentions)
		return
	}
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("a secret is in the error: %v", err)
	}
}
