package admin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
	"kproxy/proxy"
)

// reloader is a Site.Reload that notes the requests.
type reloader struct {
	requests chan admin.Reload
	result   admin.Reloaded
	err      error
}

func (r *reloader) reload(_ context.Context, request admin.Reload) (admin.Reloaded, error) {
	r.requests <- request
	return r.result, r.err
}

// serveReload starts a server with a configuration, whose reloads are r's.
func serveReload(t *testing.T, c admin.Config, r *reloader) *admin.Server {
	t.Helper()
	r.requests = make(chan admin.Reload, 100)
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	s, err := admin.Listen(t.Context(), &admin.Site{Config: &c, Ready: &admin.Readiness{}, Reload: r.reload}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// send sends a request with headers, each as name: value. Host is one of them.
func send(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// Only a POST of the operator reaches the reload: not a web page's, not another machine's
// without the token.
func TestWhoMayReload(t *testing.T) {
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	loopback, open, guarded := admin.Config{Hosts: []string{"kproxy.example.com"}}, admin.Config{Bind: "0.0.0.0:0"}, admin.Config{Bind: "0.0.0.0:0", TokenFile: file}
	for _, tt := range []struct {
		name    string
		conf    admin.Config
		method  string
		headers []string
		status  int
		want    string // in the body
	}{
		{"loopback", loopback, "POST", nil, 200, `"generation": 7`},
		{"GET", loopback, "GET", nil, 405, ""},
		{"PUT", loopback, "PUT", nil, 405, ""},
		{"a known host", loopback, "POST", []string{"Host: kproxy.example.com"}, 200, ""},
		{"localhost", loopback, "POST", []string{"Host: localhost:9400"}, 200, ""},
		{"a name that leads here", loopback, "POST", []string{"Host: evil.example.com"}, 421, "admin.hosts"},
		{"the same with its origin", loopback, "POST", []string{"Host: evil.example.com", "Origin: http://evil.example.com"}, 421, "admin.hosts"},
		{"another site", loopback, "POST", []string{"Origin: https://evil.example.com"}, 403, "another site"},
		{"a page without an origin", loopback, "POST", []string{"Origin: null"}, 403, "another site"},
		{"a cross-site fetch", loopback, "POST", []string{"Sec-Fetch-Site: cross-site"}, 403, "another site"},
		{"a same-site fetch", loopback, "POST", []string{"Sec-Fetch-Site: same-site"}, 403, "another site"},
		{"its own page", loopback, "POST", []string{"Host: localhost:9400", "Origin: http://localhost:9400"}, 200, ""},
		{"a same-origin fetch", loopback, "POST", []string{"Sec-Fetch-Site: same-origin"}, 200, ""},
		{"exposed without a token", open, "POST", nil, 403, "admin.token_file"},
		{"exposed, any token", open, "POST", []string{"Authorization: Bearer " + token}, 403, "admin.token_file"},
		{"no token", guarded, "POST", nil, 401, "Authorization: Bearer TOKEN"},
		{"a wrong token", guarded, "POST", []string{"Authorization: Bearer " + token[1:]}, 401, ""},
		{"the token", guarded, "POST", []string{"Authorization: Bearer " + token}, 200, ""},
		{"the token from another site", guarded, "POST", []string{"Authorization: Bearer " + token, "Origin: https://evil.example.com"}, 403, "another site"},
	} {
		r := &reloader{result: admin.Reloaded{Generation: 7}}
		s := serveReload(t, tt.conf, r)
		_, port, _ := strings.Cut(strings.TrimPrefix(s.Addr().String(), "[::]"), ":")
		resp, body := send(t, tt.method, "http://127.0.0.1:"+port+"/-/reload", tt.headers...)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, resp.StatusCode, body, tt.status, tt.want)
		}
		if tt.status == 405 && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q", tt.name, resp.Header.Get("Allow"))
		}
		if reloads := len(r.requests); (reloads == 1) != (tt.status == 200) {
			t.Errorf("%s: %d reloads", tt.name, reloads)
		}
	}
}

func TestReloadResponses(t *testing.T) {
	bad := errors.Join(
		&admin.MistakeError{File: "k.yaml", Line: 3, Column: 5, Key: "log.level", Problem: `"loud" is not one of debug, info`, Fix: "the default is info"},
		errors.New("something else"),
	)
	for _, tt := range []struct {
		query  string
		result admin.Reloaded
		err    error
		dry    bool
		status int
		want   string // the body, without white space
	}{
		{
			"",
			admin.Reloaded{Generation: 2, Applied: true, Changes: []admin.Difference{{Kind: admin.Changed, Key: "log.level", Was: "info", Now: "debug"}}},
			nil, false, 200,
			`{"generation":2,"applied":true,"changes":[{"change":"changed","key":"log.level","was":"info","now":"debug"}]}`,
		},
		{
			"?dry_run",
			admin.Reloaded{Generation: 1, Changes: []admin.Difference{}, Removes: []admin.Removal{{Cluster: "orders", Listener: "fred", Sessions: 3}}},
			nil, true, 200,
			`{"generation":1,"applied":false,"changes":[],"removes":[{"cluster":"orders","listener":"fred","sessions":3}]}`,
		},
		{"?dry_run=true", admin.Reloaded{}, nil, true, 200, `{"generation":0,"applied":false,"changes":null}`},
		{"?check=live&dry_run", admin.Reloaded{}, nil, true, 200, `{"generation":0,"applied":false,"changes":null}`},
		{"?dry_run=false", admin.Reloaded{}, nil, false, 200, `{"generation":0,"applied":false,"changes":null}`},
		{
			"",
			admin.Reloaded{},
			bad, false, 422,
			`{"errors":[{"file":"k.yaml","line":3,"column":5,"key":"log.level","problem":"\"loud\" is not one of debug, info","fix":"the default is info"},{"problem":"something else"}]}`,
		},
		{"", admin.Reloaded{}, admin.ErrStopping, false, 503, `{"errors":[{"problem":"kproxy is stopping"}]}`},
	} {
		r := &reloader{result: tt.result, err: tt.err}
		s := serveReload(t, admin.Config{}, r)
		resp, body := send(t, "POST", "http://"+s.Addr().String()+"/-/reload"+tt.query)
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(body)); err != nil || resp.StatusCode != tt.status || compact.String() != tt.want {
			t.Errorf("%s: got %d %s\nwant %d %s", tt.query, resp.StatusCode, compact.String(), tt.status, tt.want)
		}
		if got := <-r.requests; got.DryRun != tt.dry || got.Live != strings.Contains(tt.query, "live") || !strings.HasPrefix(got.From, "127.0.0.1:") {
			t.Errorf("%s: got the request %+v", tt.query, got)
		}
	}
	r := &reloader{}
	s := serveReload(t, admin.Config{}, r)
	for _, query := range []string{"dry_run=maybe", "check=dead"} {
		if resp, body := send(t, "POST", "http://"+s.Addr().String()+"/-/reload?"+query); resp.StatusCode != 400 || len(r.requests) > 0 {
			t.Errorf("%s: got %d %s", query, resp.StatusCode, body)
		}
	}
}

// A server takes another token, another name and TLS while it serves.
func TestUse(t *testing.T) {
	folder := certlab.NewFolder(t)
	ca := certlab.NewAuthority(t, "ca")
	cert, key := folder.Pair(t, "admin", ca.Issue(t, nil, "127.0.0.1"))
	site := func(c admin.Config) *admin.Site {
		secure, err := c.Load(discard)
		if err != nil {
			t.Fatal(err)
		}
		metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
		return &admin.Site{Config: &c, TLS: secure, Ready: &admin.Readiness{Proxy: &fake{health: proxy.Health{Bound: true}}}, Metrics: metrics}
	}
	s, err := admin.Listen(t.Context(), site(admin.Config{Bind: "127.0.0.1:0"}), discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	at := s.Addr().String()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}} // it keeps connections
	defer client.CloseIdleConnections()
	want := func(what, url, authorization string, status int) {
		t.Helper()
		if got, _, body := ask(t, client, url, authorization); got != status {
			t.Errorf("%s: got %d %s, want %d", what, got, body, status)
		}
	}
	want("at first", "http://"+at+"/metrics", "", 200)
	s.Use(site(admin.Config{Bind: "127.0.0.1:0", TokenFile: folder.Write(t, "token", []byte(token)), Pprof: true}))
	want("no token", "http://"+at+"/metrics", "", 401)
	want("with the token", "http://"+at+"/debug/pprof/cmdline", "Bearer "+token, 200)
	s.Use(site(admin.Config{Bind: "127.0.0.1:0", Cert: cert, Key: key, WatchInterval: 1}))
	want("the connection from before", "http://"+at+"/metrics", "", 200)
	want("plain text", "http://"+at+"/metrics", "", 400)
	want("TLS", "https://"+at+"/metrics", "", 200)
	s.Use(site(admin.Config{Bind: "127.0.0.1:0"}))
	want("TLS of before", "https://"+at+"/metrics", "", 200)
	want("plain text again", "http://"+at+"/metrics", "", 200)
}

// A server that was bound and is not used accepts nothing, and can be closed.
func TestBind(t *testing.T) {
	s, err := admin.Bind(t.Context(), &admin.Config{Bind: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := s.Addr().String()
	s.ReadFiles()
	s.Close(t.Context())
	again, err := admin.Bind(t.Context(), &admin.Config{Bind: at}, discard)
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	again.Close(t.Context())
}
