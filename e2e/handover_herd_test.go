//go:build e2e && handovers

package e2e

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// TestHandOverHerd has 1,000 clients in TLS connect again at once when their connection ends, and others
// connect without a pause. In a hand-over the handshakes are spread over the drain, and every connection
// gets a response; at a restart they come all at once.
func TestHandOverHerd(t *testing.T) {
	const clients, drain = 1000, 10 // seconds
	s := startSuccession(t)
	h := startHerd(t, clients, lab.HostPort("127.0.0.1", s.ports.secure), &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost", RootCAs: s.ca.Pool()})
	defer h.end()
	watch, err := lab.WatchHandshakes(nil, s.isServer)
	if err != nil {
		t.Fatal(err)
	}
	others := startStorm(t, 4, s.many.Advertise)
	defer others.end()
	for range 2 { // the second is from a process that has taken over itself
		moment := time.Since(h.began)
		s.handOver(t)
		h.awaitAll(t, clients)
		each := h.since(moment)
		t.Logf("TLS handshakes in each second of the hand-over: %v", each)
		total := 0
		for _, n := range each {
			total += n
		}
		if most := slices.Max(each); total < clients || most > 3*clients/drain {
			t.Errorf("%d handshakes, %d in one second, want at least %d, and at most %d in a second", total, most, clients, 3*clients/drain)
		}
	}
	others.end()
	asked, failed, how := others.counts()
	count, err := watch.Stop()
	t.Logf("other clients connected %d times, and had no response %d times %s; on the wire: %v", asked, failed, how, count)
	t.Logf("the longest time from the end of a session to the next response: %v", h.longest.Round(time.Millisecond))
	if err != nil || asked == 0 || failed > 0 || count.Refused+count.Unanswered+count.Retransmitted+count.Resets+count.Missed > 0 || len(h.errs) > 0 {
		t.Errorf("%v; %d errors of the herd: %v", err, len(h.errs), h.errs[:min(len(h.errs), 5)])
	}
}
