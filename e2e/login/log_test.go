//go:build e2e

package login

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// entry is a line of kproxy's log.
type entry struct{ Level, Reason, Msg string }

func (s *site) entries(t *testing.T, each func(line []byte, e entry)) {
	t.Helper()
	log, err := os.ReadFile(s.kproxy.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		var e entry
		if json.Unmarshal(line, &e) == nil { // or it is the table that serve prints at its start
			each(line, e)
		}
	}
}

// closed is how many sessions have ended, by their reasons.
func (s *site) closed(t *testing.T) map[string]int {
	t.Helper()
	n := map[string]int{}
	s.entries(t, func(_ []byte, e entry) {
		if e.Reason != "" {
			n[e.Reason]++
		}
	})
	return n
}

// checkLog fails the test if kproxy complained of anything but what the test has
// tried on purpose, or told a secret.
func (s *site) checkLog(t *testing.T) {
	t.Helper()
	s.entries(t, func(line []byte, e entry) {
		switch e.Reason {
		case "", "no_request", "client_closed", "client_reset", "client_login", "broker_login", "api_refused", "drained":
		default:
			t.Errorf("kproxy's log: %s", line)
		}
		if e.Level == "ERROR" {
			t.Errorf("kproxy's log: %s", line)
		}
		for _, secret := range []string{password, alicePassword, "eyJhbGciOiJub25lIn0"} {
			if bytes.Contains(line, []byte(secret)) {
				t.Errorf("kproxy's log tells a secret: %s", line)
			}
		}
	})
}
