package proxy_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
)

// If the client has left while kproxy logs in again, the session does not end for the broker's
// silence.
func TestClientThatLeavesWhileLoggingInAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		leave func(c client)
		want  proxy.CloseReason
	}{
		"reset":  {func(c client) { c.reset() }, proxy.ClientReset},
		"closed": {func(c client) { c.close() }, proxy.ClientClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			l.door = newDoor()
			l.door.lifetime = 1
			l.first = l.startBroker(t, 0, 0)
			conf := l.door.logsIn(l.config())
			conf.Clusters[0].ConnectTimeout = stall
			l.start(t, conf)
			client, s := l.session(t, l.first)
			s.request(kmsg.SASLHandshake, 1)
			c.leave(client)
			wantError(t, l.ended(t, c.want), "the broker has not answered within 1.5s")
		})
	}
}
