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
	s := &session{client: client, proxy: &Proxy{}}
	racelab.Together(rounds, func() {
		s.leaving.Store(errLoginDue)
	}, func() {
		s.leave(Drained)
	}, func() {
		s.leaving.CompareAndSwap(errLoginDue, nil)
	}, func(round int) {
		if s.asked() == nil {
			t.Errorf("round %d: it was not", round)
		}
	})
}
