package admin_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
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
