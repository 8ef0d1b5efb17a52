package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/certlab"
	"kproxy/internal/events"
	"kproxy/internal/page"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// withPage is a site with a status page.
func withPage(conf *admin.Config) *admin.Site {
	empty := func() (reasons, warnings []string) { return nil, nil }
	return &admin.Site{
		Config: conf, Ready: &admin.Readiness{Proxy: &fake{}},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		API:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		Page: page.New(page.Parts{
			Topology: func() proxy.Topology { return proxy.Topology{} }, Recent: recent.New(func() proxy.Snapshot { return proxy.Snapshot{} }),
			Events: new(events.Ring), Ready: empty, Generation: func() int { return 1 },
		}),
	}
}

// browser is a client that keeps cookies as a browser does, and follows no redirect.
type browser struct {
	*testing.T

	base   string
	cookie *http.Cookie
}

func newBrowser(t *testing.T, conf *admin.Config) *browser {
	t.Helper()
	return newBrowserWith(t, conf, discard)
}

func newBrowserWith(t *testing.T, conf *admin.Config, log *slog.Logger) *browser {
	t.Helper()
	return newBrowserOf(t, withPage(conf), log)
}

func newBrowserOf(t *testing.T, site *admin.Site, log *slog.Logger) *browser {
	t.Helper()
	s, err := admin.Listen(t.Context(), site, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(t.Context()) })
	_, port, _ := strings.Cut(strings.TrimPrefix(s.Addr().String(), "[::]"), ":")
	return &browser{t, "http://127.0.0.1:" + port, nil}
}

// ask sends a form, if there is one, and headers as "Name: value".
func (b *browser) ask(method, path string, form url.Values, headers ...string) (status int, body string, header http.Header) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return resp.StatusCode, string(text), resp.Header
}

func (b *browser) logIn(token string) (status int, body string) {
	b.Helper()
	status, body, _ = b.ask(http.MethodPost, "/-/login", url.Values{"token": {token}}, "Sec-Fetch-Site: same-origin")
	return status, body
}

func (b *browser) want(method, path string, want int) {
	b.Helper()
	if got, body, _ := b.ask(method, path, nil); got != want {
		b.Errorf("%s %s: got %d %.100s, want %d", method, path, got, body, want)
	}
}

func tokenFile(t *testing.T) string {
	t.Helper()
	return certlab.NewFolder(t).Write(t, "token", []byte(token+"\n"))
}

// A browser that has sent the token may read, and change nothing. A replaced token ends that.
func TestLogIn(t *testing.T) {
	file := tokenFile(t)
	b := newBrowser(t, &admin.Config{Bind: "127.0.0.1:0", TokenFile: file, Pprof: true})
	if status, body, _ := b.ask(http.MethodGet, "/", nil); status != http.StatusUnauthorized || !strings.Contains(body, `action="/-/login"`) || strings.Contains(body, "generation") {
		t.Errorf("without a token: %d %s", status, body)
	}
	if status, body := b.logIn(token[1:]); status != http.StatusUnauthorized || !strings.Contains(body, "This is not the token.") || b.cookie != nil {
		t.Errorf("a wrong token: %d %s, %v", status, body, b.cookie)
	}
	if status, _ := b.logIn(" " + token + "\r\n"); status != http.StatusSeeOther || b.cookie == nil {
		t.Fatalf("the token: %d, %v", status, b.cookie)
	}
	c := b.cookie
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || strings.Contains(c.Value, token) || len(c.Value) < 26 || c.MaxAge != 12*60*60 {
		t.Errorf("cookie: %v", c)
	}
	if status, body, _ := b.ask(http.MethodGet, "/", nil); status != http.StatusOK || !strings.Contains(body, "configuration generation 1") || !strings.Contains(body, "Log out") {
		t.Errorf("logged in: %d %s", status, body)
	}
	b.want(http.MethodGet, "/api/v1/topology", http.StatusNoContent)
	b.want(http.MethodGet, "/metrics", http.StatusNoContent)
	b.want(http.MethodDelete, "/api/v1/connections/7", http.StatusUnauthorized)
	b.want(http.MethodPut, "/api/v1/log-level", http.StatusUnauthorized)
	b.want(http.MethodGet, "/debug/pprof/", http.StatusUnauthorized)
	if err := os.WriteFile(file, []byte(token+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want(http.MethodGet, "/", http.StatusUnauthorized)
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want(http.MethodGet, "/", http.StatusOK)
	kept := b.cookie
	if status, _, _ := b.ask(http.MethodPost, "/-/logout", nil, "Sec-Fetch-Site: same-origin"); status != http.StatusSeeOther || b.cookie != nil {
		t.Errorf("log out: %d, %v", status, b.cookie)
	}
	b.cookie = kept
	b.want(http.MethodGet, "/", http.StatusUnauthorized)
	b.cookie = &http.Cookie{Name: kept.Name, Value: strings.Repeat("A", len(kept.Value))}
	b.want(http.MethodGet, "/", http.StatusUnauthorized)
	b.cookie = nil
	if status, body, _ := b.ask(http.MethodGet, "/", nil, "Authorization: Bearer "+token); status != http.StatusOK || strings.Contains(body, "Log out") {
		t.Errorf("the token in a header: %d %s", status, body)
	}
}

// A stream of events ends with the log-in that has opened it, and with the token.
func TestStreamsEndWithTheLogIn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *browser, file string) error{
		"log-out": func(b *browser, _ string) error {
			_, _, _ = b.ask(http.MethodPost, "/-/logout", nil, "Sec-Fetch-Site: same-origin")
			return nil
		},
		"another token": func(_ *browser, file string) error { return os.WriteFile(file, []byte(token+"x"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, ring := tokenFile(t), new(events.Ring)
			site := withPage(&admin.Config{Bind: "127.0.0.1:0", TokenFile: file})
			site.API = api.New(api.Parts{Events: ring})
			b := newBrowserOf(t, site, discard)
			b.logIn(token)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+"/api/v1/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", "text/event-stream")
			r.AddCookie(b.cookie)
			resp, err := http.DefaultClient.Do(r)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			defer resp.Body.Close()
			if err := end(b, file); err != nil {
				t.Fatal(err)
			}
			log, ended := slog.New(ring.Handler(slog.DiscardHandler)), make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, resp.Body)
				ended <- err
			}()
			for tick := time.NewTicker(50 * time.Millisecond); ; {
				select {
				case <-tick.C:
					log.Info("session closed")
				case err := <-ended:
					if tick.Stop(); err != nil {
						t.Errorf("the stream goes on: %v", err)
					}
					return
				}
			}
		})
	}
}

// The token file is not bad because a client leaves while it is read.
func TestClientThatLeavesIsNoBadToken(t *testing.T) {
	var lines bytes.Buffer
	handler := admin.HandlerOf(withPage(&admin.Config{Bind: "127.0.0.1:9400", TokenFile: tokenFile(t)}), slog.New(slog.NewTextHandler(&lines, nil)))
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/metrics", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if lines.Len() > 0 {
		t.Errorf("the log has %s", &lines)
	}
}

// Who may see the page follows from the same rules as who may use the API. A link from another site leads to it.
func TestWhoMaySeeThePage(t *testing.T) {
	file := tokenFile(t)
	loopback, open := &admin.Config{Bind: "127.0.0.1:0"}, &admin.Config{Bind: "0.0.0.0:0"}
	guarded := &admin.Config{Bind: "0.0.0.0:0", TokenFile: file}
	link := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	for _, tt := range []struct {
		name         string
		conf         *admin.Config
		method, path string
		headers      []string
		status       int
	}{
		{"loopback", loopback, "GET", "/", nil, 200},
		{"loopback, the head", loopback, "HEAD", "/", nil, 200},
		{"a post", loopback, "POST", "/", nil, 405},
		{"another path", loopback, "GET", "/index.html", nil, 404},
		{"a name that leads here", loopback, "GET", "/", []string{"Host: evil.example.com"}, 421},
		{"a fetch of another site", loopback, "GET", "/", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty"}, 403},
		{"a frame of another site", loopback, "GET", "/", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"another origin", loopback, "GET", "/", []string{"Origin: https://evil.example.com"}, 403},
		{"another port of the host", loopback, "GET", "/", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 403},
		{"a link of another site", loopback, "GET", "/", link, 200},
		{"a link of another site to the API", loopback, "GET", "/api/v1/topology", link, 403},
		{"exposed without a token", open, "GET", "/", nil, 403},
		{"exposed with one", guarded, "GET", "/", nil, 401},
		{"a log-in of another site", guarded, "POST", "/-/login", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"a log-in of another origin", guarded, "POST", "/-/login", []string{"Origin: https://evil.example.com"}, 403},
		{"a log-in under another name", guarded, "POST", "/-/login", []string{"Host: evil.example.com"}, 421},
		{"a log-out of another site", guarded, "POST", "/-/logout", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"nothing to log in to", loopback, "POST", "/-/login", nil, 303},
		{"a log-in by a link", guarded, "GET", "/-/login?token=" + token, nil, 405},
		{"an empty form", guarded, "POST", "/-/login", nil, 401},
	} {
		b := newBrowser(t, tt.conf)
		if status, body, _ := b.ask(tt.method, tt.path, nil, tt.headers...); status != tt.status || b.cookie != nil {
			t.Errorf("%s: got %d %.100s, want %d; %v", tt.name, status, body, tt.status, b.cookie)
		}
	}
}

// A token is taken from the form alone, and a large form is not read.
func TestForms(t *testing.T) {
	b := newBrowser(t, &admin.Config{Bind: "127.0.0.1:0", TokenFile: tokenFile(t)})
	if status, _, _ := b.ask(http.MethodPost, "/-/login?token="+token, url.Values{}); status != http.StatusUnauthorized {
		t.Errorf("a token in the address: %d", status)
	}
	if status, _ := b.logIn(strings.Repeat("x", 1<<20)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large form: %d", status)
	}
	if status, _, _ := b.ask(http.MethodPost, "/-/login", url.Values{"token": {token}}, "Content-Type: text/plain"); status != http.StatusUnauthorized {
		t.Errorf("no form: %d", status)
	}
}

// A source that tries many tokens has to wait, also with the right one. Others need not.
func TestLogInIsLimited(t *testing.T) {
	log := &journal{}
	b := newBrowserWith(t, &admin.Config{Bind: "127.0.0.1:0", TokenFile: tokenFile(t)}, slog.New(slog.NewTextHandler(log, nil)))
	tries := 0
	for ; tries < 100; tries++ {
		if status, _ := b.logIn(fmt.Sprintf("wrong token %d", tries)); status == http.StatusTooManyRequests {
			break
		}
	}
	if tries < 10 || tries > 15 {
		t.Errorf("%d tries were free", tries)
	}
	if status, _ := b.logIn(token); status != http.StatusTooManyRequests || b.cookie != nil {
		t.Errorf("the token after that: %d, %v", status, b.cookie)
	}
	if status, _, _ := b.ask(http.MethodGet, "/", nil, "Authorization: Bearer "+token); status != http.StatusOK {
		t.Errorf("the token in a header: %d", status)
	}
	log.once(t, "tries to log in too often", "from=127.0.0.1:")
}

// Forms with the token do not count, nor does a wrong one in a while.
func TestRightTokensAreNotLimited(t *testing.T) {
	b := newBrowser(t, &admin.Config{Bind: "127.0.0.1:0", TokenFile: tokenFile(t)})
	for tries := range 40 {
		want := http.StatusSeeOther
		sent := token
		if tries%8 == 7 {
			sent, want = "a wrong token", http.StatusUnauthorized
		}
		if status, body := b.logIn(sent); status != want {
			t.Fatalf("try %d: %d %s", tries, status, body)
		}
	}
}

// Log-ins end by themselves, and there is a bounded number of them and of sources.
func TestLogInsAreBounded(t *testing.T) {
	file := tokenFile(t)
	synctest.Test(t, func(t *testing.T) {
		handler := admin.HandlerOf(withPage(&admin.Config{Bind: "127.0.0.1:9400", TokenFile: file}), discard)
		logIn := func(source int) *http.Cookie {
			t.Helper()
			w := admin.Ask(handler, http.MethodPost, "/-/login", url.Values{"token": {token}}, fmt.Sprintf("10.%d.%d.1:5000", source/256, source%256), nil)
			if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return w.Result().Cookies()[0]
		}
		sees := func(c *http.Cookie) bool {
			return admin.Ask(handler, http.MethodGet, "/", nil, "10.0.0.1:5000", c).Code == http.StatusOK
		}
		first := logIn(0)
		time.Sleep(12*time.Hour - time.Second) //nolint:forbidigo // the bubble's own time
		if !sees(first) {
			t.Error("the log-in has ended early")
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's own time
		if sees(first) {
			t.Error("the log-in has no end")
		}
		second := logIn(1)
		for source := range 63 {
			logIn(2 + source)
		}
		if !sees(second) {
			t.Error("one of 64 log-ins has ended")
		}
		last := logIn(100)
		if sees(second) || !sees(last) {
			t.Error("a further log-in does not end the oldest")
		}
		for source := range 3000 {
			logIn(source)
		}
		if logins, sources := admin.CountLogins(handler); logins != 64 || sources != 1000 {
			t.Errorf("%d log-ins and %d sources are kept", logins, sources)
		}
	})
}
