package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// health --config waits until the configuration in use is that of the file, and no longer than until
// kproxy says that it does not apply it.
func TestHealthOfAConfiguration(t *testing.T) {
	t.Parallel()
	file, want := writtenConfig(t)
	const held = `"not_applied": {"sha256": "%s", "reasons": ["it removes clusters.a.tls", "and\nmore"]}`
	for name, tt := range map[string]struct {
		bodies  []string // of the configuration, in turn; the last one stays
		timeout string
		code    int
		says    string
	}{
		"no response, then a part of one":    {[]string{"", "half", `{"sha256": "` + want + `"}`}, "1m", exitDone, "ready\n"},
		"in use":                             {[]string{`{"sha256": "` + want + `"}`}, "1m", exitDone, "ready\n"},
		"later":                              {[]string{`{"sha256": "00"}`, `{"sha256": "00", ` + fmt.Sprintf(held, "") + `}`, `{"sha256": "00", ` + fmt.Sprintf(held, "11") + `}`, `{"sha256": "` + want + `"}`}, "1m", exitDone, "ready\n"},
		"held back":                          {[]string{`{"sha256": "00"}`, `{"sha256": "00", ` + fmt.Sprintf(held, want) + `}`}, "1m", exitFailed, "kproxy: the configuration in use is not that of " + file + "\nkproxy: it removes clusters.a.tls\nkproxy: and\\nmore\n"},
		"held back, and it does not say why": {[]string{`{"sha256": "00", "not_applied": {"sha256": "` + want + `", "reasons": []}}`}, "1m", exitFailed, "kproxy: the configuration in use is not that of " + file + "\n"},
		"never":                              {[]string{`{"sha256": "00"}`}, "1500ms", exitFailed, "kproxy: the configuration in use is not that of " + file},
		"tried in vain":                      {[]string{`{"sha256": "00", ` + fmt.Sprintf(held, "") + `}`}, "1500ms", exitFailed, "\nkproxy: it removes clusters.a.tls\n"},
		"without the token":                  {[]string{`null`}, "1m", exitFailed, "names no configuration: add --token-file if admin.token_file is set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := min(int(asked.Add(1)), len(tt.bodies))
				switch tt.bodies[n-1] {
				case "":
					panic(http.ErrAbortHandler) // the connection ends without a response
				case "half":
					_, _ = io.WriteString(w, `{"ready": tr`)
					return
				}
				_, _ = io.WriteString(w, `{"ready": true, "reasons": [], "clusters": {"a": {}}, "configuration": `+tt.bodies[n-1]+`}`)
			}))
			defer s.Close()
			began := time.Now()
			stdout, stderr := runWith(t, tt.code, "health", "--admin", s.URL, "--config", file, "--timeout", tt.timeout)
			if !strings.Contains(stdout+stderr, tt.says) || time.Since(began) > 30*time.Second {
				t.Errorf("got %s%s in %v, want %s", stdout, stderr, time.Since(began), tt.says)
			}
		})
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ready": true, "reasons": []}`)
	}))
	defer s.Close()
	if _, stderr := runWith(t, exitFailed, "health", "--admin", s.URL, "--config", file, "--token-file", token); !strings.Contains(stderr, "it does not accept the token") {
		t.Errorf("got %s", stderr)
	}
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	for _, url := range []string{secure.URL, strings.Replace(s.URL, "http:", "https:", 1)} { // neither passes
		began := time.Now()
		if _, stderr := runWith(t, exitFailed, "health", "--admin", url, "--config", file, "--timeout", "1m"); time.Since(began) > 30*time.Second {
			t.Errorf("waited for %s", stderr)
		}
	}
	if _, stderr := runWith(t, exitUsage, "health", "--config", "/no/such/file"); !strings.Contains(stderr, "--config: ") {
		t.Errorf("got %s", stderr)
	}
}

// writtenConfig is a file for --config, and the SHA-256 of its content.
func writtenConfig(t *testing.T) (file, digest string) {
	t.Helper()
	const content = "clusters: {}\n"
	file = filepath.Join(t.TempDir(), "kproxy.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
}
