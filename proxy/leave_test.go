package proxy

import (
	"net"
	"testing"

	"kproxy/internal/racelab"
)

// A session that is asked to leave ends, whatever happens to a login that is due meanwhile.
func TestLeaveBesideALogin(t *testing.T) {
	const rounds = 300_000
	client, peer := net.Pipe()
	defer client.Close()
	defer peer.Close()
	s := &session{client: clientSide{conn: client}, proxy: &Proxy{}}
	racelab.Together(rounds, func() {
		s.life.add(askLogin)
		s.life.askAt(askPark, 7)
	}, func() {
		s.leave(askDrain)
	}, func() {
		s.life.drop(askLogin | askQuiet)
	}, func(round int) {
		if why := s.life.leaving(); why == nil || why.reason != Drained {
			t.Errorf("round %d: it leaves for %v", round, why)
		}
		s.life.drop(askDrain)
	})
}
