package main

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
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/certlab"
)

// Each configuration of testdata/mistakes is refused by check with exactly the lines of
// its golden file, and by serve with the same, before it binds anything. Lines such as
// "# env NAME=VALUE" at its top are environment variables.
func TestMistakesGolden(t *testing.T) {
	all, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(all) < 30 {
		t.Fatalf("found %d configurations, %v", len(all), err)
	}
	for _, source := range all {
		name := filepath.Base(source)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			golden, err := filepath.Abs(strings.TrimSuffix(source, "yaml") + "golden")
			if err != nil {
				t.Fatal(err)
			}
			setVariables(t, data)
			folder := writeNamedFiles(t)
			folder.Write(t, name, data)
			t.Chdir(string(folder))

			got := goldenText(check(t.Context(), name, io.Discard, io.Discard))
			compareGolden(t, golden, got)
			var log bytes.Buffer
			if served := goldenText(serveInto(t, name, &log)); served != got {
				t.Errorf("serve says\n%s\ncheck says\n%s", served, got)
			}
			if strings.Contains(log.String(), "level=INFO") {
				t.Errorf("serve logs before it refuses:\n%s", &log)
			}
		})
	}
}

// setVariables sets the environment variables of a configuration's first lines.
func setVariables(t *testing.T, data []byte) {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	for line := range bytes.Lines(data) {
		variable, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "# env ")
		if !ok {
			return
		}
		key, value, _ := strings.Cut(variable, "=")
		t.Setenv(key, value)
	}
}

// writeNamedFiles makes the files that configurations name, good ones and bad ones.
func writeNamedFiles(t *testing.T) certlab.Folder {
	t.Helper()
	folder, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	folder.Pair(t, "edge", ca.Issue(t, nil, "kafka.example.com", "*.kafka.example.com"))
	folder.Pair(t, "other", ca.Issue(t, nil, "other.example.com"))
	folder.Write(t, "ca.pem", ca.PEM)
	folder.Write(t, "garbage", []byte("nonsense\n"))
	folder.Write(t, "nothing", nil)
	folder.Write(t, "short", []byte("12345"))
	folder.Write(t, "tickets", bytes.Repeat([]byte("0123456789abcdef"), 3))
	folder.Write(t, "password", []byte("secret\n"))
	if err := os.Mkdir(filepath.Join(string(folder), "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}

// goldenText is the golden form of an error.
func goldenText(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error() + "\n"
	if _, ok := errors.AsType[*usageError](err); !ok {
		text += "(no mistake of the configuration's)\n"
	}
	return text
}

// compareGolden compares a text with a file, or writes it there.
func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s\nif it should be so, run go test ./cmd/kproxy -run Golden -update", got, want)
	}
}

// errNoSockets is the error of serve at the point where it would bind.
var errNoSockets = errors.New("this test has no sockets")

// serveWithoutSockets runs serve up to where it binds.
func serveWithoutSockets(t *testing.T, file string) error {
	t.Helper()
	return serveInto(t, file, io.Discard)
}

// serveInto is serveWithoutSockets with a log.
func serveInto(t *testing.T, file string, log io.Writer) error {
	t.Helper()
	s, err := loadConfig(file)
	if err != nil {
		return err
	}
	s.Proxy.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, errNoSockets }
	if s.Admin.Bind != "" {
		s.Admin.Bind = "127.0.0.1:0" // no other part of the test can take it
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // serve ends before
	defer cancel()
	return serve(ctx, s, &origin{}, io.Discard, log)
}

// check accepts every configuration that serve accepts: every sample, and none of its
// files can be missing.
func TestSamplesCheckAndServe(t *testing.T) {
	samples, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("found %d samples, %v", len(samples), err)
	}
	folder, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	id := ca.Issue(t, nil, "kafka.example.com", "*.kafka.example.com", "audit.example.com", "*.audit.example.com")
	for _, name := range []string{"orders", "audit", "kproxy"} {
		folder.Pair(t, name, id)
	}
	folder.Write(t, "brokers-ca.pem", ca.PEM)
	folder.Write(t, "clients-ca.pem", ca.PEM)
	folder.Write(t, "kafka-password", []byte("secret"))
	line, err := auth.UserLine("alice", "secret", auth.ScramSHA512, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	folder.Write(t, "users", []byte(line))
	for _, sample := range samples {
		name := filepath.Base(sample)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			for _, place := range []string{"/etc/kproxy/", "/run/secrets/", "/var/lib/kproxy"} {
				text = strings.ReplaceAll(text, place, string(folder)+"/")
			}
			file := folder.Write(t, name, []byte(text))
			var stdout, stderr bytes.Buffer
			if err := check(t.Context(), file, &stdout, &stderr); err != nil || stderr.Len() > 0 {
				t.Errorf("check: %v, %s", err, &stderr)
			}
			if err := serveWithoutSockets(t, file); !errors.Is(err, errNoSockets) {
				t.Errorf("serve: %v", err)
			}
			// check and serve report each missing file of a sample in the same words.
			for _, missing := range []string{"kafka-password", "users", "orders.pem", "audit.key", "kproxy.pem", "brokers-ca.pem", "clients-ca.pem"} {
				if !strings.Contains(text, string(folder)+"/"+missing) {
					continue
				}
				file := folder.Write(t, "missing-"+name, []byte(strings.ReplaceAll(text, "/"+missing, "/nowhere")))
				checked, served := goldenText(check(t.Context(), file, io.Discard, io.Discard)), goldenText(serveWithoutSockets(t, file))
				if checked != served || !strings.Contains(checked, "nowhere: no such file or directory; ") {
					t.Errorf("without %s check says\n%s\nserve says\n%s", missing, checked, served)
				}
			}
		})
	}
}
