package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
	"kproxy/internal/portlab"
	"kproxy/proxy"
)

// clusters are the clusters of a test's admin server: up and lost ones, by name.
type clusters map[string]bool

func (c clusters) Health() proxy.Health {
	h := proxy.Health{Bound: true}
	for name, up := range c {
		h.Clusters = append(h.Clusters, proxy.ClusterHealth{Name: name, Up: up, LastAnswer: time.Unix(100, 0)})
	}
	return h
}

// overflown are clusters with nodes outside the range of a listener.
type overflown struct{ clusters }

func (o overflown) Health() proxy.Health {
	h := o.clusters.Health()
	for i := range h.Clusters {
		h.Clusters[i].Overflowed = []proxy.Overflow{{Listener: "l", Nodes: []int32{1001, 1002}}}
		h.Clusters[i].Unmapped = []proxy.Overflow{{Listener: "l", Nodes: []int32{1003}}}
	}
	return h
}

func (clusters) Probe(context.Context, string) {}

// healthy is the proxy that an admin server asks.
type healthy interface {
	Health() proxy.Health
	Probe(ctx context.Context, cluster string)
}

// startAdmin starts an admin server until the test ends, and returns its address.
func startAdmin(t *testing.T, c healthy, conf admin.Config) string {
	t.Helper()
	conf.Bind = "127.0.0.1:0"
	logger := slog.New(slog.DiscardHandler)
	secure, err := conf.Load(logger)
	if err != nil {
		t.Fatal(err)
	}
	s, err := admin.Listen(t.Context(), &admin.Site{Config: &conf, TLS: secure, Ready: &admin.Readiness{Proxy: c}, Metrics: http.NotFoundHandler()}, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s.Addr().String()
}

func TestHealth(t *testing.T) {
	dir := certlab.NewFolder(t)
	ca := certlab.NewAuthority(t, "ca")
	id := ca.Issue(t, nil, "127.0.0.1")
	caFile := dir.Write(t, "ca.pem", ca.PEM)
	token, wrong := dir.Write(t, "token", []byte("0123456789abcdef\n")), dir.Write(t, "wrong", []byte("fedcba9876543210"))
	both := clusters{"a": true, "b": false}
	open := startAdmin(t, both, admin.Config{})
	outside := startAdmin(t, overflown{clusters{"a": true}}, admin.Config{})
	none := startAdmin(t, clusters{}, admin.Config{})
	guarded := startAdmin(t, both, admin.Config{TokenFile: token})
	secure := startAdmin(t, both, admin.Config{Cert: dir.Write(t, "c.pem", id.CertPEM), Key: dir.Write(t, "k.pem", id.KeyPEM)})
	closed := portlab.Closed(t)
	for _, tt := range []struct {
		args string
		code int
		want string // a pattern for stdout if the code is 0, and for stderr otherwise
	}{
		{"--admin http://" + open, 0, `^ready\n$`},
		{"--admin " + open, 0, `^ready\n$`},
		{"--admin http://" + open + "/ --cluster a", 0, `^ready\n$`},
		{"--admin http://" + open + " --cluster b", 1, `^kproxy: not ready: cluster b does not answer\n$`},
		{"--admin http://" + open + " --cluster c", 1, `^kproxy: not ready: there is no cluster "c"; there is `},
		{"--admin http://" + open + " --strict", 1, `^kproxy: not ready: cluster b does not answer\n$`},
		{"--admin http://" + open + " --strict --cluster a", 0, `^ready\n$`},
		{"--admin http://" + open + " --in-range", 0, `^ready\n$`},
		{"--admin http://" + outside, 0, `^ready\n$`},
		{"--admin http://" + outside + " --in-range", 1, `^kproxy: not ready: cluster a, listener l: node 1001 is outside the range of nodes; .*\n.* node 1002 is outside .*\n.* node 1003 has no endpoint, .*\n$`},
		{"--admin http://" + outside + " --in-range --strict", 1, `node 1001 is outside`},
		{"--admin http://" + outside + " --in-range --cluster a", 1, `node 1001 is outside`},
		{"--admin http://" + guarded + " --in-range", 1, `without the token of admin.token_file; add --token-file`},
		{"--admin http://" + none, 1, `^kproxy: not ready: no cluster has answered yet\n$`},
		{"--admin http://" + guarded, 0, `^ready\n$`},
		{"--admin http://" + guarded + " --cluster a", 1, `wants a token; add --token-file`},
		{"--admin http://" + guarded + " --strict", 1, `without the token of admin.token_file; add --token-file`},
		{"--admin http://" + guarded + " --cluster a --token-file " + wrong, 1, `does not accept the token; --token-file must name`},
		{"--admin http://" + guarded + " --cluster a --token-file " + token, 0, `^ready\n$`},
		{"--admin http://" + guarded + " --strict --token-file " + token, 1, `^kproxy: not ready: cluster b does not answer\n$`},
		{"--admin https://" + secure, 1, `name the authority with --ca FILE`},
		{"--admin https://" + secure + " --insecure", 0, `^ready\n$`},
		{"--admin https://" + secure + " --ca " + caFile, 0, `^ready\n$`},
		{"--admin http://" + secure, 1, `if admin.tls is set, write https://`},
		{"--admin https://" + open, 1, `speaks HTTP, not HTTPS; write http://`},
		{"--admin http://" + closed, 1, `connection refused; see whether kproxy runs and admin.bind is this address`},
		{"--admin ftp://x", 2, `--admin: "ftp://x" is neither http nor https`},
		{"--admin http://u:hunter2@x", 2, `--admin: "http://…@x" has a user`},
		{"--admin http://x/readyz", 2, `has more than host and port`},
		{"--admin http://", 2, `is not a URL`},
		{"--admin http://a\x1bb", 2, `--admin: "http://a\\x1bb" is not a URL`},
		{"--admin http://127.0.0.1:99999", 2, `--admin: "http://127.0.0.1:99999" has no port from 1 to 65535; write one such as `},
		{"--admin 127.0.0.1:0", 2, `has no port from 1 to 65535`},
		{"--timeout 0s", 2, `--timeout: it must be more than 0`},
		{"--ca /no/such/file", 2, `--ca: `},
		{"--ca " + token, 2, `holds no certificate`},
		{"--ca " + caFile + " --insecure", 2, `leave one of them out`},
		{"--token-file /no/such/file", 2, `--token-file: `},
		{"extra", 2, `unexpected argument "extra"`},
	} {
		stdout, stderr := runWith(t, tt.code, append([]string{"health"}, strings.Fields(tt.args)...)...)
		got := stdout
		if tt.code != 0 {
			got = stderr
		}
		if !regexp.MustCompile(tt.want).MatchString(got) || strings.Contains(stderr, "hunter2") {
			t.Errorf("health %s: got %q, want %s", tt.args, got, tt.want)
		}
	}
}

// In the server's own container, the environment has its address.
func TestHealthOfTheEnvironment(t *testing.T) {
	address := startAdmin(t, clusters{"a": true}, admin.Config{})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for bind, want := range map[string]string{
		"":                "http://127.0.0.1:9400",
		"0.0.0.0:" + port: "http://127.0.0.1:" + port,
		":" + port:        "http://127.0.0.1:" + port,
		"[::]:" + port:    "http://[::1]:" + port,
		"10.0.0.7:1":      "http://10.0.0.7:1",
	} {
		t.Setenv("KPROXY_ADMIN_BIND", bind)
		if got, err := adminFromEnvironment(); got != want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", bind, got, err, want)
		}
	}
	t.Setenv("KPROXY_ADMIN_BIND", "nonsense")
	if _, stderr := runWith(t, exitUsage, "health"); !strings.Contains(stderr, `KPROXY_ADMIN_BIND: "nonsense"`) || !strings.Contains(stderr, "--admin") {
		t.Errorf("of nonsense: %s", stderr)
	}
	runWith(t, exitDone, "health", "--admin", "http://"+address)
	t.Setenv("KPROXY_ADMIN_BIND", "0.0.0.0:"+port)
	runWith(t, exitDone, "health", "--strict")
	t.Setenv("KPROXY_ADMIN_TLS_CERT", "x.pem")
	if got, err := adminFromEnvironment(); got != "https://127.0.0.1:"+port || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// A response from any server at the port is bounded, cleaned, and its redirects are not
// followed.
func TestHealthOfAnotherServer(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a page":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "responds 200, which is not kproxy's"},
		"no ready": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "responds 200, which is not kproxy's"},
		"another's 503": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error": "no upstream"}`)
		}, "responds 503, which is not kproxy's"},
		"a nothing": {http.NotFound, "responds 404, which is not kproxy's"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/readyz2", http.StatusFound) }, "responds 302"},
		"silent":    {func(http.ResponseWriter, *http.Request) { <-never }, "did not respond in time"},
		"hostile": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, `{"ready": false, "reasons": ["a\nkproxy- forged\u001b[2J%s"%s]}`, strings.Repeat("x", 9000), strings.Repeat(`, "more"`, 500))
		}, `not ready: a\nkproxy- forged\x1b[2Jx`},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"ready": true, "reasons": ["`)
			for range 3 * maxHealthBody >> 10 {
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<10))
			}
		}, "responds 200, which is not kproxy's"},
	} {
		s := httptest.NewServer(tt.handler)
		_, stderr := runWith(t, exitFailed, "health", "--admin", s.URL, "--timeout", "1s")
		s.CloseClientConnections()
		wantTame(t, name, stderr)
		if !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") > maxReasons+1 {
			t.Errorf("%s: got %.500s, want %q", name, stderr, tt.want)
		}
	}
}

// Whatever has the admin server's port may send the token back.
func TestHealthDoesNotRepeatTheToken(t *testing.T) {
	const token = "admins-token"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"as a reason": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, `{"ready": false, "reasons": [%q]}`, r.Header.Get("Authorization"))
		},
		"in place of HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, r.Header.Get("Authorization")+"\r\n")
			_ = conn.Close()
		},
	} {
		s := httptest.NewServer(handler)
		_, stderr := runWith(t, exitFailed, "health", "--admin", s.URL, "--token-file", file)
		s.Close()
		if !strings.Contains(stderr, "[secret]") || strings.Contains(stderr, token) {
			t.Errorf("%s: got %s", name, stderr)
		}
	}
}

// The commands of docs/readiness.md, docs/recipes.md and of the samples that run health are valid, and end
// with 0 if kproxy is ready.
func TestHealthInDocs(t *testing.T) {
	address := startAdmin(t, clusters{"orders": true}, admin.Config{})
	t.Setenv("KPROXY_ADMIN_BIND", address)
	commands := 0
	for _, file := range []string{"docs/readiness.md", "docs/recipes.md", "Dockerfile", "configs/docker.yaml"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		var found [][]string
		for _, list := range regexp.MustCompile(`\[("CMD", )?("/kproxy", "health"[^\]]*)\]`).FindAllStringSubmatch(string(text), -1) {
			var words []string
			if err := json.Unmarshal([]byte("["+list[2]+"]"), &words); err != nil {
				t.Fatal(err)
			}
			found = append(found, words[1:])
		}
		for _, line := range regexp.MustCompile(`(?m)(?:^\$ |script ".*/)kproxy (health[^"\n]*)`).FindAllStringSubmatch(string(text), -1) {
			found = append(found, strings.Fields(line[1]))
		}
		for _, args := range found {
			for i, arg := range args {
				if arg == "--admin" {
					args[i+1] = "http://" + address
				}
			}
			commands++
			runWith(t, exitDone, args...)
		}
	}
	if commands != 7 {
		t.Errorf("%d commands are run, want 7", commands)
	}
}
