package main

import (
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kproxy/internal/certlab"
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

// The authorities may come by a pipe, which is read once, and each connection needs them.
func TestAuthoritiesFromAPipe(t *testing.T) {
	ca := certlab.NewAuthority(t, "ca")
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, nil, "127.0.0.1").Pair}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.TLS(secure))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	at := cluster.ListenAddrs()[0]
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if code, stdout, stderr := runDoctor(t, at, "--ca", namedPipe(t, string(ca.PEM))); code != exitDone {
		t.Errorf("doctor: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if c := runConnect(t, at, "--ca", namedPipe(t, string(ca.PEM))); c.code != exitDone || c.bootstrap == "" {
		t.Errorf("connect: exit code %d\n%s", c.code, c.stderr)
	}
	pipe := namedPipe(t, string(certlab.NewAuthority(t, "another authority").PEM))
	if code, stdout, _ := runDoctor(t, at, "--ca", pipe); code != exitFailed || !strings.Contains(strings.Join(strings.Fields(stdout), " "), pipe+`, which has "CN=another authority"`) {
		t.Errorf("doctor with another authority: exit code %d\n%s", code, stdout)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
