package admin_test

import (
	"strings"
	"testing"

	"kproxy/internal/admin"
)

// Every response has the base headers, refusals too. The status page has a policy of its own.
func TestBaseHeaders(t *testing.T) {
	b := newBrowser(t, &admin.Config{Bind: "127.0.0.1:0", TokenFile: tokenFile(t), Pprof: true})
	bearer := "Authorization: Bearer " + token
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "/", nil, 401},
		{"GET", "/", []string{bearer}, 200},
		{"POST", "/-/login", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"POST", "/-/logout", nil, 303},
		{"GET", "/api/v1/topology", nil, 401},
		{"GET", "/api/v1/topology", []string{bearer}, 204},
		{"GET", "/api/v1/topology", []string{bearer, "Origin: https://evil.example.com"}, 403},
		{"GET", "/metrics", []string{bearer}, 204},
		{"GET", "/livez", nil, 200},
		{"GET", "/readyz", nil, 503},
		{"GET", "/debug/pprof/", []string{bearer}, 200},
		{"GET", "/nowhere", nil, 404},
		{"POST", "/livez", nil, 405},
		{"GET", "/api/v1/topology", []string{"Host: evil.example.com"}, 421},
	} {
		status, _, header := b.ask(tt.method, tt.path, nil, tt.headers...)
		if status != tt.status {
			t.Errorf("%s %s %q: got %d, want %d", tt.method, tt.path, tt.headers, status, tt.status)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		} {
			if got := header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s %s %d: %s: %q, want %q", tt.method, tt.path, status, name, got, want)
			}
		}
		policy := header.Get("Content-Security-Policy")
		if ofPage := tt.path == "/"; !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") != ofPage {
			t.Errorf("%s %s %d: the policy is %s", tt.method, tt.path, status, policy)
		}
	}
}
