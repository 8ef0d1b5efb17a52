package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/kfakelab"
	"kproxy/internal/logkey"
	"kproxy/proxy"
)

// hostile is a broker's advertised host: a forged row, escapes, and the full length of a
// Kafka string.
var hostile = "b0\nforged  row\nkproxy- forged\x1bc'; rm -rf /; '" + strings.Repeat("x", 32<<10-100)

// wantTame fails the test if text has escapes, a line that a broker made, or is too long
// for a screen.
func wantTame(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "forged") || strings.HasPrefix(line, "kproxy- forged") || strings.HasPrefix(line, "level=") {
			t.Errorf("%s: a broker has written the line %.100q", what, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
			t.Errorf("%s: not printable: %.100q", what, line)
		}
	}
	if len(text) > 20<<10 {
		t.Errorf("%s: %d bytes", what, len(text))
	}
}

func TestTablesOfHostileNames(t *testing.T) {
	var table bytes.Buffer
	err := printTable(&table, []proxy.Endpoint{{Cluster: "orders", Listener: "fred", Bootstrap: "localhost:1", Bind: "127.0.0.1:2", Advertised: "localhost:2", Dialled: hostile + ":9092"}})
	if err != nil {
		t.Fatal(err)
	}
	wantTame(t, "serve's table", table.String())
	if n := strings.Count(table.String(), "\n"); n != 4 { // two headings, the row, and the long name
		t.Errorf("serve's table has %d lines, want 4", n)
	}
}

// Whatever host a broker advertises, the output has kproxy's lines only.
func TestHostileBroker(t *testing.T) {
	address := kfakelab.Start(t, 1, kfakelab.All(hostile+":9092"), kfake.ClusterID(hostile[:8000])).At[0]
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for _, args := range [][]string{{"doctor", address}, {"doctor", "--json", address}, {"connect", "--exec", "true", address}} {
		var stdout, stderr bytes.Buffer
		run(args, &stdout, &stderr)
		wantTame(t, fmt.Sprint(args[:len(args)-1], " stdout"), stdout.String())
		wantTame(t, fmt.Sprint(args[:len(args)-1], " stderr"), stderr.String())
		if !strings.Contains(stdout.String()+stderr.String(), "b0") {
			t.Errorf("%v: the broker is not named:\n%s%s", args, stdout.String(), stderr.String())
		}
	}
}

// The length of a log line is bounded, whichever peer's text is in it.
func TestLogLinesAreBounded(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var got bytes.Buffer
		logger, err := newFixedLogger(&got, logKeys{Level: "info", Format: format})
		if err != nil {
			t.Fatal(err)
		}
		logger.Info(hostile, slog.String(logkey.ClientID, hostile), slog.Any(logkey.Error, fmt.Errorf("dial %s", hostile)),
			slog.Duration(logkey.Duration, time.Second), slog.String(logkey.Source, "1.2.3.4"))
		if n := bytes.Count(got.Bytes(), []byte("\n")); n != 1 || got.Len() > 5<<10 {
			t.Errorf("%s: %d lines, %d bytes", format, n, got.Len())
		}
		for _, part := range []string{"more)", "1.2.3.4", "b0"} {
			if !strings.Contains(got.String(), part) {
				t.Errorf("%s: %q is missing in %s", format, part, got.String())
			}
		}
	}
}
