package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kproxy/internal/portlab"
)

// Without a response, upgrade says whether kproxy can have been asked: then the result is not known.
func TestUpgradeWithoutResponse(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	defer close(never)
	serve := func(handler http.HandlerFunc) string {
		s := httptest.NewServer(handler)
		t.Cleanup(s.CloseClientConnections)
		return s.URL
	}
	for name, tt := range map[string]struct {
		address string
		asked   bool
	}{
		"late": {serve(func(http.ResponseWriter, *http.Request) { <-never }), true},
		"cut": {serve(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			panic(http.ErrAbortHandler)
		}), true},
		"cut within the response": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"pid": 1`)
		}), true},
		"refused": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"errors": [{"problem": "no"}]}`)
		}), false},
		"closed": {portlab.Closed(t), false},
	} {
		_, errs := runWith(t, exitFailed, "upgrade", "--admin", tt.address, "--timeout", "1s")
		if strings.Contains(errs, "the result is not known") != tt.asked {
			t.Errorf("%s: got %s", name, errs)
		}
	}
}
