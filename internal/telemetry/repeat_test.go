package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kproxy/internal/telemetry"
	"kproxy/proxy"
)

// pushTo pushes once, with a token, and returns the error.
func pushTo(t *testing.T, collector string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbfAuthorization: Bearer collectors-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := telemetry.OTLP{Endpoint: collector, Protocol: telemetry.HTTP, Insecure: true, HeadersFile: file}
	tel, err := startTelemetry(t, &telemetry.Config{OTLP: conf}, func() proxy.Snapshot { return proxy.Snapshot{} }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return tel.Shutdown(context.WithoutCancel(t.Context()))
}

// If a collector repeats a secret, it is not in the log, and the collector's text is
// short there.
func TestCollectorThatRepeatsTheToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.Copy(w, bytes.NewReader([]byte(r.Header.Get("Authorization")+"\nis no good"+strings.Repeat("!", 10_000))))
	}))
	defer s.Close()
	err := pushTo(t, s.URL)
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Fatalf("got %v", err)
	}
	if text := err.Error(); len(text) > 600 || strings.Contains(text, "collectors-token") || strings.Contains(text, "\n") {
		t.Errorf("got %d bytes: %s", len(text), text)
	}
}

// The connection to the collector ends with the response. net/http writes to stderr whatever
// comes on one that is kept.
func TestCollectorConnectionEnds(t *testing.T) {
	var pushed, kept atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		pushed.Add(1)
		if !r.Close {
			kept.Add(1)
		}
	}))
	defer s.Close()
	if err := pushTo(t, s.URL); err != nil || pushed.Load() == 0 || kept.Load() != 0 {
		t.Errorf("%d pushes, %d connections are kept; %v", pushed.Load(), kept.Load(), err)
	}
}

// A redirect takes the headers nowhere.
func TestCollectorThatRedirects(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
	}))
	defer s.Close()
	if err := pushTo(t, s.URL); err == nil || !strings.Contains(err.Error(), "308") {
		t.Errorf("got %v, want the status", err)
	}
	if elsewhere.Load() > 0 {
		t.Error("the redirect was followed")
	}
}
