package proxy

import (
	"log/slog"
	"testing"

	"kproxy/internal/portlab"
)

// If a session is asked something while its pumps end to be parked, it finds that before it
// is parked. Later nothing would wake it.
func TestAskedWhileParking(t *testing.T) {
	for name, tt := range map[string]struct {
		ask  func(s *session)
		want bool
	}{
		"nothing":          {func(*session) {}, true},
		"to end":           {func(s *session) { s.life.leave(askDrain) }, false},
		"to log in again":  {func(s *session) { s.life.add(askLogin) }, false},
		"it has ended":     {func(s *session) { s.life.note(end(DrainTimeout, nil)) }, false},
		"whether it idles": {func(s *session) { s.life.askAt(askIdle, 0) }, false},
	} {
		p := &Proxy{}
		p.parked.log = slog.New(slog.DiscardHandler)
		s := &session{proxy: p}
		s.account.s = s
		s.client.conn, _ = portlab.TCPPair(t)
		s.broker.conn, _ = portlab.TCPPair(t)
		tt.ask(s)
		if got := p.parked.park(s); got != tt.want {
			t.Errorf("%s: it is parked: %t, want %t", name, got, tt.want)
		}
		p.parked.mu.Lock()
		clear(p.parked.sessions)
		p.parked.mu.Unlock()
		p.parked.close()
	}
}
