package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kproxy/internal/connect"
)

// namedPipe is a named pipe to which text is written once.
func namedPipe(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		w, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return // the test has ended
		}
		_, _ = w.WriteString(text)
		_ = w.Close()
	}()
	return name
}

// The files that a person names on the command line may be pipes.
func TestFlagsThatNameAPipe(t *testing.T) {
	s, err := loadConfig(namedPipe(t, `
clusters:
  orders:
    bootstrap: ["127.0.0.1:9092"]
    listeners:
      fred: {bind: "127.0.0.1:9093", nodes: {ports: 9100}}
`))
	if err != nil || s.Proxy.Clusters[0].Name != "orders" {
		t.Errorf("--config: got %v", err)
	}
	from, err := connect.FromFile(t.Context(), namedPipe(t, "bootstrap.servers=b0.example.com:9092\n"))
	if err != nil || len(from.Bootstrap) != 1 {
		t.Errorf("--config-from: got %v", err)
	}
	f := connectFlags{sasl: "PLAIN", username: "me", passwordFile: namedPipe(t, "hunter22\n")}
	var o connect.Options
	if err := f.security(t.Context(), &o); err != nil {
		t.Fatal(err)
	}
	for range 2 { // each login reads it
		if got, err := o.SASL.Password.Read(t.Context()); got != "hunter22" || err != nil {
			t.Errorf("--password-file: got %q, %v", got, err)
		}
	}
	var out strings.Builder
	if code := run([]string{"passwd", "me", "--password-file", namedPipe(t, "hunter22\n")}, &out, io.Discard); code != exitDone || !strings.HasPrefix(out.String(), "me") {
		t.Errorf("passwd --password-file: exit code %d: %s", code, &out)
	}
}
