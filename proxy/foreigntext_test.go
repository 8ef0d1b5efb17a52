package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client's own text in the line of its end is one line, and bounded.
func TestClientIDInLog(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0, 0)
	l.start(t, l.config())
	c := l.dial(t, "bob.test:9092")
	id := "a\nlevel=ERROR \x1b[2J" + strings.Repeat("x", 30000)
	c.write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, heartbeat(), 0))
	s := b.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	finish(t, &l, c, s)
	l.log.has(t, "session closed", `client_id="a\\nlevel=ERROR`)
	for _, line := range l.log.entries() {
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes: %.200s", len(line), line)
		}
	}
}

// So is a broker's.
func TestBrokerNameInLog(t *testing.T) {
	t.Parallel()
	var l lab
	b := l.startBroker(t, 0)
	b.names = append(b.names, kmsg.MetadataResponseBroker{NodeID: 7, Host: "b7\nlevel=ERROR " + strings.Repeat("x", 30000), Port: 9092})
	l.start(t, l.config())
	l.log.has(t, "broker found", "node=7")
	if i := slices.IndexFunc(l.log.entries(), func(line string) bool { return len(line) > 2000 }); i >= 0 {
		t.Errorf("a line of %d bytes: %.200s", len(l.log.entries()[i]), l.log.entries()[i])
	}
}
