package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"kproxy/internal/admin"
	"kproxy/internal/certlab"
)

// serveUpgrade starts a server whose hand-overs are upgrade, and returns the path's URL.
func serveUpgrade(t *testing.T, c admin.Config, upgrade func(context.Context, admin.Upgrade) (admin.Upgraded, error)) string {
	t.Helper()
	s, err := admin.Listen(t.Context(), &admin.Site{Config: &c, Ready: &admin.Readiness{}, Upgrade: upgrade}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + port + "/-/upgrade"
}

// A hand-over wants the token wherever the server listens.
func TestWhoMayUpgrade(t *testing.T) {
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	for _, tt := range []struct {
		name, bind, file string
		header           string
		want             int
	}{
		{"loopback without a token", "127.0.0.1:0", "", "X: y", http.StatusForbidden},
		{"another address without a token", "0.0.0.0:0", "", "X: y", http.StatusForbidden},
		{"no header", "127.0.0.1:0", file, "X: y", http.StatusUnauthorized},
		{"another token", "127.0.0.1:0", file, "Authorization: Bearer " + token[1:], http.StatusUnauthorized},
		{"the token", "127.0.0.1:0", file, "Authorization: Bearer " + token, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := false
			url := serveUpgrade(t, admin.Config{Bind: tt.bind, TokenFile: tt.file}, func(context.Context, admin.Upgrade) (admin.Upgraded, error) {
				asked = true
				return admin.Upgraded{PID: 42}, nil
			})
			if resp, body := send(t, http.MethodPost, url, tt.header); resp.StatusCode != tt.want || asked != (tt.want == http.StatusOK) {
				t.Errorf("got %d %s, asked %t", resp.StatusCode, body, asked)
			}
		})
	}
}

func TestUpgradeResponses(t *testing.T) {
	file := certlab.NewFolder(t).Write(t, "token", []byte(token))
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{nil, http.StatusOK, `"pid": 42`},
		{&admin.RefusedError{MistakeError: admin.MistakeError{Problem: "it drains", Fix: "wait"}}, http.StatusConflict, `"fix": "wait"`},
		{admin.ErrStopping, http.StatusServiceUnavailable, "stopping"},
		{errors.Join(&admin.MistakeError{Problem: "first"}, &admin.MistakeError{Problem: "second"}), http.StatusUnprocessableEntity, `"problem": "second"`},
	} {
		url := serveUpgrade(t, admin.Config{Bind: "127.0.0.1:0", TokenFile: file}, func(_ context.Context, u admin.Upgrade) (admin.Upgraded, error) {
			if u.From == "" {
				t.Error("the client has no address")
			}
			return admin.Upgraded{PID: 42, Version: "v9"}, tt.err
		})
		resp, body := send(t, http.MethodPost, url, "Authorization: Bearer "+token)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.want) || !json.Valid([]byte(body)) {
			t.Errorf("%v: got %d %s", tt.err, resp.StatusCode, body)
		}
	}
}
