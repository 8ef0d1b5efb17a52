package admin_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

const token = "0123456789abcdef0123456789abcdef"

// secured is a server with a token and profiles, in front of an orders cluster that has
// responded, and is lost.
func secured(t *testing.T) (s *admin.Server, file string, log *journal) {
	t.Helper()
	file, log = certlab.NewFolder(t).Write(t, "token", []byte(token+"\n")), &journal{}
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{lost("orders")}}, probed: make(chan string, 8)}
	c := admin.Config{Bind: "127.0.0.1:0", TokenFile: file, Pprof: true}
	return listenWith(t, &c, &admin.Readiness{Proxy: f}, slog.New(slog.NewTextHandler(log, nil))), file, log
}

// journal is a log that a test reads.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	return len(line), nil
}

// once fails the test unless one line with all of these has been written since the last
// call.
func (j *journal) once(t *testing.T, words ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) != 1 || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(j.lines[0], w) }) {
		t.Errorf("the log has %q, want one line with %q", j.lines, words)
	}
	j.lines = nil
}

// ask sends a request with an Authorization, or without any.
func ask(t *testing.T, client *http.Client, url, authorization string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// A client without the token gets statuses, and nothing else.
func TestToken(t *testing.T) {
	s, _, _ := secured(t)
	paths := map[string]struct{ with, without int }{
		"/livez":                   {200, 200},
		"/readyz":                  {200, 200},
		"/readyz?cluster=orders":   {503, 401},
		"/readyz?cluster=nobody":   {404, 401},
		"/metrics":                 {200, 401},
		"/debug/pprof/":            {200, 401},
		"/debug/pprof/cmdline":     {200, 401},
		"/debug/pprof/goroutine":   {200, 401},
		"/debug/pprof/symbol":      {200, 401},
		"/debug/pprof/profile?a=b": {0, 401}, // takes 30 s
		"/debug/pprof/trace":       {0, 401},
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, authorization := range []string{
			"", "Bearer", "Bearer " + token[1:], "Bearer " + token + "0", "Basic " + token, token, "bearer " + token, "Bearer  " + token,
		} {
			knows := strings.HasPrefix(strings.ToLower(authorization), "bearer ") && strings.HasSuffix(authorization, " "+token)
			want := paths[path].without
			if knows {
				want = paths[path].with
			}
			if want == 0 {
				continue
			}
			status, header, body := ask(t, http.DefaultClient, "http://"+s.Addr().String()+path, authorization)
			if status != want {
				t.Errorf("%s with %q: got %d, want %d", path, authorization, status, want)
			}
			if challenge := header.Get("WWW-Authenticate"); (status == 401) != (challenge == `Bearer realm="kproxy"`) {
				t.Errorf("%s: got %d with the challenge %q", path, status, challenge)
			}
			if !knows && strings.Contains(body, "broker") {
				t.Errorf("%s with %q tells %s", path, authorization, body)
			}
		}
	}
}

// /readyz without the token returns a status and the word for it.
func TestReadyzIsBrief(t *testing.T) {
	s, _, _ := secured(t)
	url := "http://" + s.Addr().String() + "/readyz"
	_, _, body := ask(t, http.DefaultClient, url, "")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || !maps.Equal(got, map[string]any{"ready": true}) {
		t.Errorf("got %s, %v", body, err)
	}
	if _, _, body = ask(t, http.DefaultClient, url, "Bearer "+token); !strings.Contains(body, "no broker can be reached") {
		t.Errorf("with the token: got %s", body)
	}

	// Strict for all, and not ready.
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	f := &fake{health: proxy.Health{Bound: true, Clusters: []proxy.ClusterHealth{lost("orders")}}, probed: make(chan string, 8)}
	strict := listenAs(t, admin.Config{TokenFile: file}, &admin.Readiness{Proxy: f, All: true})
	status, _, body := ask(t, http.DefaultClient, "http://"+strict.Addr().String()+"/readyz", "")
	if err := json.Unmarshal([]byte(body), &got); status != 503 || err != nil || !maps.Equal(got, map[string]any{"ready": false}) {
		t.Errorf("strict: got %d, %s, %v", status, body, err)
	}
}

// A token that is sent in plain text to other machines is a warning.
func TestTokenInPlainText(t *testing.T) {
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	for bind, warns := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true} {
		log := &journal{}
		listenWith(t, &admin.Config{Bind: bind, TokenFile: file}, nil, slog.New(slog.NewTextHandler(log, nil)))
		if warns {
			log.once(t, "level=WARN", "plain text", "admin.tls")
		} else if len(log.lines) > 0 {
			t.Errorf("%s: the log has %q", bind, log.lines)
		}
	}
}

// A token that is replaced counts from the next request on. If it is removed, or becomes
// too short, no client is admitted.
func TestTokenIsReplaced(t *testing.T) {
	s, file, log := secured(t)
	url := "http://" + s.Addr().String() + "/metrics"
	for _, step := range []struct {
		content  string
		old, now int
	}{
		{"fedcba9876543210fedcba9876543210", 401, 200},
		{"short", 401, 401},
		{"", 401, 401},
		{"two words of a token", 401, 401},
		{" " + token + " \n\n", 200, 200},
		{token, 200, 200},
	} {
		if err := os.WriteFile(file, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := ask(t, http.DefaultClient, url, "Bearer "+token); got != step.old {
			t.Errorf("%q: the old token got %d, want %d", step.content, got, step.old)
		}
		if got, _, _ := ask(t, http.DefaultClient, url, "Bearer "+strings.TrimSpace(step.content)); got != step.now {
			t.Errorf("%q: the new token got %d, want %d", step.content, got, step.now)
		}
		if step.now == 401 {
			log.once(t, "level=ERROR", "no request is let in", "error=", file, "fix=")
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := ask(t, http.DefaultClient, url, "Bearer "+token); got != 401 {
		t.Errorf("without a file: got %d", got)
	}
	log.once(t, "no such file")
	if got, _, _ := ask(t, http.DefaultClient, url, ""); got != 401 {
		t.Errorf("without a file, and without a token: got %d", got)
	}
	if len(log.lines) > 0 {
		t.Errorf("who sends no token has %q logged", log.lines)
	}
}

// Profiles are served where the configuration says so.
func TestPprof(t *testing.T) {
	for on, want := range map[bool]int{false: 404, true: 200} {
		s := listenAs(t, admin.Config{Pprof: on}, nil)
		if got, _ := get(t, s, "/debug/pprof/heap"); got != want {
			t.Errorf("pprof %t: got %d, want %d", on, got, want)
		}
		if got, body := get(t, s, "/debug/pprof/profile?seconds=1"); got != want {
			t.Errorf("a profile of a second, pprof %t: got %d, want %d: %s", on, got, want, body)
		}
	}
}

// HTTPS uses the certificate in the file, also after a change.
func TestHTTPS(t *testing.T) {
	ca := certlab.NewAuthority(t, "ca")
	files := certlab.NewFolder(t)
	first := ca.Issue(t, nil, "first.test", "127.0.0.1")
	cert, key := files.Pair(t, "admin", first)
	s := listenAs(t, admin.Config{Cert: cert, Key: key, WatchInterval: 10 * time.Millisecond}, nil)
	shown := func() string {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()},
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr().String()+"/livez", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.TLS.PeerCertificates[0].DNSNames[0]
	}
	if got := shown(); got != "first.test" {
		t.Errorf("got the certificate of %s", got)
	}
	files.Pair(t, "admin", ca.Issue(t, nil, "second.test", "127.0.0.1"))
	for deadline := time.Now().Add(10 * time.Second); shown() != "second.test"; {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not shown")
		}
	}
	if status, _ := get(t, s, "/livez"); status != http.StatusBadRequest {
		t.Errorf("plain HTTP got %d", status)
	}
}

// Invalid files are named by their key when the server starts.
func TestBadFiles(t *testing.T) {
	files := certlab.NewFolder(t)
	short, none := files.Write(t, "short", []byte("12345")), files.Write(t, "none", nil)
	words := files.Write(t, "words", []byte(token+"\n"+token))
	for _, tt := range []struct {
		conf admin.Config
		want string
	}{
		{admin.Config{TokenFile: "missing-file"}, "admin.token_file: open missing-file: no such file"},
		{admin.Config{TokenFile: short}, "admin.token_file: " + short + " holds a token of 5 characters, and 16 are the least; name a file"},
		{admin.Config{TokenFile: words}, "admin.token_file: " + words + " holds more than one word, or characters that are not ASCII; name a file"},
		{admin.Config{TokenFile: none}, "admin.token_file: "},
		{admin.Config{Cert: "missing-cert", Key: "missing-key"}, "admin.tls.cert: open missing-cert: "},
	} {
		tt.conf.Bind = "127.0.0.1:0"
		_, err := tt.conf.Load(discard)
		if _, ok := errors.AsType[*config.Error](err); !ok || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %s", tt.conf, err, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		conf admin.Config
		want []string
	}{
		{admin.Config{}, nil},
		{admin.Config{Bind: "0.0.0.0:1", TokenFile: "t", Cert: "c", Key: "k", Pprof: true}, nil},
		{admin.Config{Bind: "127.0.0.1:1", Pprof: true}, nil},
		{admin.Config{Bind: "localhost:1", Pprof: true}, nil},
		{admin.Config{Bind: "[::1]:1", Pprof: true}, nil},
		{admin.Config{Bind: ":1", Pprof: true}, []string{"admin.pprof"}},
		{admin.Config{Bind: "no-port", Pprof: true}, nil}, // which is package proxy's to say
		{admin.Config{Bind: "10.0.0.1:1", Pprof: true}, []string{"admin.pprof"}},
		{admin.Config{Bind: "127.0.0.1:1", Cert: "c"}, []string{"admin.tls.key"}},
		{admin.Config{Bind: "127.0.0.1:1", Key: "k"}, []string{"admin.tls.cert"}},
		{admin.Config{TokenFile: "t", Cert: "c", Pprof: true}, []string{"admin.token_file", "admin.tls", "admin.pprof"}},
	} {
		var got []string
		if joined, ok := tt.conf.Validate().(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				bad, _ := errors.AsType[*config.Error](err)
				if bad == nil || bad.Problem == "" || bad.Fix == "" {
					t.Fatalf("%+v: got %v", tt.conf, err)
				}
				got = append(got, bad.Key)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got mistakes in %v, want %v", fmt.Sprintf("%+v", tt.conf), got, tt.want)
		}
	}
}
