//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
	"kproxy/e2e/workload"
)

// loads are loads of franz-go's and of Java's clients: one through the listener many, one in TLS through
// the listener secure, and perhaps one directly at the brokers; and the handshakes on the wire.
type loads struct {
	s      *succession
	gate   *gate
	watch  *lab.HandshakeWatch
	traces []*trace
	since  []time.Duration // when each trace had begun to flow
	cutter [3]cutter
}

func (s *succession) startLoads(t *testing.T, direct bool) *loads {
	t.Helper()
	const rate = 15 // records a second of each producer: the history of 30 hand-overs has a limit
	classes := t.TempDir()
	if err := workload.CompileJava(t.Context(), shared.kafka.Release, classes); err != nil {
		t.Fatal(err)
	}
	watch, err := lab.WatchHandshakes(nil, s.isServer)
	if err != nil {
		t.Fatal(err)
	}
	l := &loads{s: s, gate: newGate(t, s.many), watch: watch}
	plain := func(name string) []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(s.many.Advertise), kgo.Dialer(l.cutter[1].dialer(name, s.refused.of(l.gate.Dial)))}
	}
	secure := s.secureOptionsBy(&l.cutter[2], s.refused.of(s.secureDial()))
	ca := s.files.Write(t, "ca.pem", s.ca.PEM)
	l.traces = []*trace{
		startTraceAt(t, rate, "handover", &l.cutter[1], plain, workload.JavaConfig{Bootstrap: s.many.Advertise, Classes: classes}),
		startTraceAt(t, rate, "handover-tls", &l.cutter[2], secure, workload.JavaConfig{
			Bootstrap: lab.HostPort("localhost", s.ports.secure), Classes: classes,
			Properties: map[string]string{"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": ca},
		}),
	}
	if direct {
		l.traces = append(l.traces, startTraceAt(t, rate, "handover-direct", &l.cutter[0], l.cutter[0].direct,
			workload.JavaConfig{Bootstrap: shared.kafka.Seeds()[0], Classes: classes}))
	}
	flow(t, l.traces, 100)
	for _, tr := range l.traces {
		l.since = append(l.since, tr.recorder.Now())
	}
	return l
}

// judge ends the loads. It wants that no connection was refused, that nothing is lost, and that no
// request failed.
func (l *loads) judge(t *testing.T) {
	t.Helper()
	h := l.end(t)
	if h.Answered == 0 || h.Refused > 0 || h.Unanswered > 0 || h.Retransmitted > 0 || h.Missed > 0 {
		t.Error("not every connection was accepted")
	}
	for _, refused := range l.s.refused.all {
		t.Errorf("a connection was refused: %s", refused)
	}
	l.nothingLost(t)
}

// end ends the loads, and returns the handshakes.
func (l *loads) end(t *testing.T) lab.Handshakes {
	t.Helper()
	for _, tr := range l.traces {
		if err := errors.Join(tr.java.Stop(t.Context()), tr.load.Stop(t.Context())); err != nil {
			t.Errorf("%s: %v", tr.name, err)
		}
	}
	handshakes, err := l.watch.Stop()
	if err != nil {
		t.Error(err)
	}
	t.Logf("on the wire: %v", handshakes)
	if got := l.gate.Bypasses(); len(got) > 0 {
		t.Errorf("connections that bypassed kproxy: %v", got)
	}
	t.Logf("the longest pauses:\n%s", l.pauses())
	return handshakes
}

// nothingLost checks the histories.
func (l *loads) nothingLost(t *testing.T) {
	t.Helper()
	for _, tr := range l.traces {
		t.Run(tr.name, func(t *testing.T) {
			if tr.open == &l.cutter[0] { // directly: a request may fail, because kproxy has no part in it
				tr.check(t.Context(), t)
				return
			}
			tr.nothingLost(t)
		})
	}
}

// pauses are the longest times behind a moment, by client: from the sending of a record, or of a transaction's end, to
// its response; and from a poll with records to the next one.
func pauses(h history.History, since time.Duration) map[string]time.Duration {
	type call struct {
		client string
		number int64
	}
	longest := map[string]time.Duration{}
	begun := map[call]time.Duration{}
	polled := map[string]time.Duration{}
	groups := map[string]bool{}
	end := func(what string, c call, e *history.Event) {
		if at, ok := begun[c]; ok && e.Outcome == history.OK {
			longest[what] = max(longest[what], e.At-at)
		}
		delete(begun, c)
	}
	for i := range h.Events {
		e := &h.Events[i]
		if e.Type == history.Join {
			groups[e.Client] = e.Group != ""
		}
		if e.At < since {
			continue
		}
		switch e.Type {
		case history.Send:
			begun[call{e.Client, e.Number}] = e.At
		case history.Sent:
			end(e.Client+", acknowledgement", call{e.Client, e.Number}, e)
		case history.End:
			begun[call{e.Client, -e.Tx}] = e.At
		case history.Ended:
			end(e.Client+", end of a transaction", call{e.Client, -e.Tx}, e)
		case history.Poll:
			reader := e.Client + ", poll"
			if groups[e.Client] && strings.HasPrefix(e.Client, "member-") { // they come and go
				reader = "the group, poll"
			}
			if at, ok := polled[reader]; ok {
				longest[reader] = max(longest[reader], e.At-at)
			}
			polled[reader] = e.At
		default:
		}
	}
	return longest
}

// pauses is a table of the longest pauses of each trace.
func (l *loads) pauses() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	var clients []string
	all := make([]map[string]time.Duration, len(l.traces))
	for i, tr := range l.traces {
		fmt.Fprintf(w, "%s\t", tr.name)
		all[i] = pauses(tr.recorder.History(), l.since[i])
		for client := range all[i] {
			clients = append(clients, client)
		}
	}
	fmt.Fprintln(w)
	slices.Sort(clients)
	for _, client := range slices.Compact(clients) {
		for i := range all {
			fmt.Fprintf(w, "%d ms\t", all[i][client].Milliseconds())
		}
		fmt.Fprintln(w, client)
	}
	_ = w.Flush() // into memory
	return text.String()
}
