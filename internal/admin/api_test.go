package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/certlab"
	"kproxy/internal/events"
)

// The API is about clients and their users: it has the rules of the paths that change something, also
// where it only reads.
func TestWhoMayUseTheAPI(t *testing.T) {
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	loopback, open, guarded := admin.Config{Bind: "127.0.0.1:0"}, admin.Config{Bind: "0.0.0.0:0"}, admin.Config{Bind: "0.0.0.0:0", TokenFile: file}
	for _, tt := range []struct {
		name    string
		conf    admin.Config
		method  string
		headers []string
		status  int
	}{
		{"loopback", loopback, "GET", nil, 204},
		{"loopback, to change", loopback, "DELETE", nil, 204},
		{"a name that leads here", loopback, "GET", []string{"Host: evil.example.com"}, 421},
		{"another site", loopback, "DELETE", []string{"Origin: https://evil.example.com"}, 403},
		{"a cross-site fetch", loopback, "DELETE", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"a cross-site fetch that reads", loopback, "GET", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"a page of another site that reads", loopback, "GET", []string{"Origin: https://evil.example.com"}, 403},
		{"a person's browser", loopback, "GET", []string{"Sec-Fetch-Site: none"}, 204},
		{"exposed without a token", open, "GET", nil, 403},
		{"no token", guarded, "GET", nil, 401},
		{"a wrong token", guarded, "GET", []string{"Authorization: Bearer " + token[1:]}, 401},
		{"the token", guarded, "GET", []string{"Authorization: Bearer " + token}, 204},
		{"the token, to change", guarded, "DELETE", []string{"Authorization: Bearer " + token}, 204},
		{"the token from another site", guarded, "DELETE", []string{"Authorization: Bearer " + token, "Origin: https://evil.example.com"}, 403},
	} {
		asked := false
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked = true
			w.WriteHeader(http.StatusNoContent)
		})
		s, err := admin.Listen(t.Context(), &admin.Site{Config: &tt.conf, Ready: &admin.Readiness{}, API: handler}, discard)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := strings.Cut(strings.TrimPrefix(s.Addr().String(), "[::]"), ":")
		resp, body := send(t, tt.method, "http://127.0.0.1:"+port+"/api/v1/connections/7", tt.headers...)
		s.Close(context.Background())
		if resp.StatusCode != tt.status || asked != (tt.status == 204) {
			t.Errorf("%s: got %d %s, want %d; asked %v", tt.name, resp.StatusCode, body, tt.status, asked)
		}
	}
}

// A stream of events ends with the server, and when it serves another site, whose token may be another.
// The server waits for none.
func TestStreamsEndWithTheSite(t *testing.T) {
	conf := &admin.Config{Bind: "127.0.0.1:0"}
	ring := new(events.Ring)
	site := &admin.Site{Config: conf, Ready: &admin.Readiness{}, API: api.New(api.Parts{Events: ring})}
	s, err := admin.Listen(t.Context(), site, discard)
	if err != nil {
		t.Fatal(err)
	}
	slog.New(ring.Handler(slog.DiscardHandler)).Info("first")
	follow := func() *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	ends := func(resp *http.Response) {
		t.Helper()
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "first") {
			t.Errorf("%q, %v", body, err)
		}
	}
	before := follow()
	s.Use(site)
	ends(before)
	after := follow()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	s.Close(ctx)
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("Close took %v", took)
	}
	ends(after)
}
