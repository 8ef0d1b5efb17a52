//go:build e2e

package login

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// entry is a line of kproxy's log.
type entry struct {
	Level, Reason, Cluster, Listener, User string

	ClientID string        `json:"client_id"`
	Duration time.Duration `json:"duration"`
}

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

// sessions are those of a client that have ended.
func (s *site) sessions(t *testing.T, client string) []entry {
	t.Helper()
	var all []entry
	s.entries(t, func(_ []byte, e entry) {
		if e.Reason != "" && e.ClientID == client {
			all = append(all, e)
		}
	})
	return all
}

// excuse notes that the broker may end the sessions of a client: its login is refused, or
// not renewed.
func (s *site) excuse(client string) { s.excused.Store(client, true) }

// expected reports whether a session may end so. A session without a client id ended
// before a request.
func (s *site) expected(e entry) bool {
	switch e.Reason {
	case "", "no_request", "client_closed", "client_reset", "drained":
		return true
	case "client_login", "broker_login", "api_refused": // which tests try on purpose
		return true
	case "broker_closed":
		_, excused := s.excused.Load(e.ClientID)
		return excused
	default:
		return false
	}
}

// checkLog fails the test if kproxy has warned of anything that the test did not try on
// purpose, or has logged a secret.
func (s *site) checkLog(t *testing.T) {
	t.Helper()
	sessions := 0
	s.entries(t, func(line []byte, e entry) {
		if e.Reason != "" {
			sessions++
		}
		if !s.expected(e) || e.Level == "ERROR" {
			t.Errorf("kproxy's log: %s", line)
		}
		for _, secret := range []string{password, alicePassword, "eyJhbGciOiJub25lIn0"} {
			if bytes.Contains(line, []byte(secret)) {
				t.Errorf("kproxy's log tells a secret: %s", line)
			}
		}
	})
	t.Logf("%d sessions have ended", sessions)
	if sessions == 0 {
		t.Error("kproxy's log tells of no session")
	}
}
