package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The line end of a refusal is no part of its text.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this path needs a token", http.StatusForbidden)
	}))
	defer s.Close()
	for _, command := range [][]string{{"topology"}, {"connections"}, {"config", "show"}, {"reload"}, {"upgrade"}} {
		if _, stderr := runWith(t, exitFailed, append(command, "--admin", s.URL)...); !strings.HasSuffix(stderr, ": this path needs a token\n") {
			t.Errorf("%v: got %q", command, stderr)
		}
	}
}
