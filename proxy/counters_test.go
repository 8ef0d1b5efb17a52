package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/cluster"
	"kproxy/internal/upstream"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// Everything that this build knows has a counter of its own.
func TestCounterSlots(t *testing.T) {
	if kmsg.MaxKey >= apiSlots-1 {
		t.Errorf("API key %d has no counters of its own", kmsg.MaxKey)
	}
	for key := range int16(kmsg.MaxKey + 1) {
		if req := kmsg.RequestForKey(key); req != nil && req.MaxVersion() >= versionSlots-1 {
			t.Errorf("%s v%d has no counter of its own", kmsg.NameForKey(key), req.MaxVersion())
		}
	}
	for _, n := range []int16{-32768, -1, apiSlots - 1, apiSlots, 32767} {
		if got := keyOf(slotOf(n, apiSlots), apiSlots); got != Other {
			t.Errorf("key %d: got %d, want Other", n, got)
		}
	}
	if got := keyOf(slotOf(apiSlots-2, apiSlots), apiSlots); got != apiSlots-2 {
		t.Errorf("key %d: got %d", apiSlots-2, got)
	}
}

// A duration counts in the first bucket that is not below it.
func TestHistogram(t *testing.T) {
	if !slices.IsSorted(durationBounds[:]) {
		t.Fatalf("the bounds %v do not ascend", durationBounds)
	}
	var h histogram
	if _, ok := h.stats(0); ok {
		t.Error("an empty histogram is not left out")
	}
	for _, d := range []time.Duration{0, 500 * time.Microsecond, 500*time.Microsecond + 1, time.Minute, time.Hour} {
		h.add(d)
	}
	got, _ := h.stats(7)
	want := make([]int64, len(durationBounds)+1)
	want[0], want[1], want[len(want)-2], want[len(want)-1] = 2, 1, 1, 1
	if !slices.Equal(got.Buckets, want) || got.Sum != time.Hour+time.Minute+time.Millisecond+1 {
		t.Errorf("got %+v, want buckets %v", got, want)
	}
}

func TestOutcomes(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("dial b: %w", &net.OpError{Op: "dial", Err: err}) }
	tests := []struct {
		err  error
		want cluster.Outcome
	}{
		{nil, cluster.OutcomeOK},
		{wrapped(syscall.ECONNREFUSED), cluster.OutcomeConnectionRefused},
		{wrapped(syscall.EHOSTUNREACH), cluster.OutcomeUnreachable},
		{wrapped(syscall.ENETUNREACH), cluster.OutcomeUnreachable},
		{wrapped(syscall.ETIMEDOUT), cluster.OutcomeTimeout},
		{wrapped(context.DeadlineExceeded), cluster.OutcomeTimeout},
		{wrapped(&net.DNSError{IsTimeout: true}), cluster.OutcomeTimeout},
		{wrapped(&net.DNSError{IsNotFound: true}), cluster.OutcomeNoSuchHost},
		{wrapped(&net.DNSError{IsTemporary: true}), cluster.OutcomeOther},
		{wrapped(context.Canceled), cluster.OutcomeCanceled},
		{wrapped(&upstream.LoopError{Address: "127.0.0.1:9092"}), cluster.OutcomeLoop},
		{wrapped(&upstream.RefusedError{}), cluster.OutcomeRefused},
		{errors.New("a rule makes no address of it"), cluster.OutcomeOther},
	}
	for _, tt := range tests {
		if got := cluster.OutcomeOf(tt.err); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.err, got, tt.want)
		}
	}
}

// tape is a connection that returns recorded bytes and accepts all writes.
type tape struct {
	net.Conn
	left []byte
}

func (c *tape) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error) { return len(b), nil }

// tapes are two: n requests, and the responses to them.
func tapes(n int) (requests, answers []byte) {
	req := kmsg.NewPtrHeartbeatRequest()
	for i := range int32(n) {
		requests = append(requests, kmsg.NewRequestFormatter().AppendRequest(nil, req, i)...)
		payload := req.ResponseKind().AppendTo(nil)
		answers = append(wire.AppendResponsePrefix(answers, i, len(payload)), payload...)
	}
	return requests, answers
}

// tapeSession is a session that plays tapes, and the pumps for one round.
func tapeSession(tb testing.TB, n int) (round func()) {
	tb.Helper()
	p, err := New(&Config{Config: config.Config{Clusters: []config.Cluster{{
		Name: "c", Bootstrap: []string{"b:1"},
		Listeners: []config.Listener{{Name: "l", Bind: "127.0.0.1:9092", Nodes: config.Nodes{Ports: config.Range{First: 9100, Last: 9101}}}},
	}}}})
	if err != nil {
		tb.Fatal(err)
	}
	client, broker := &tape{}, &tape{}
	requests, answers := tapes(n)
	l := p.clusters()[0].listeners()[0]
	s := &session{proxy: p, endpoint: &endpoint{listener: l, slot: bootstrapSlot}, opened: time.Now()}
	s.client.conn, s.broker.conn, s.broker.to = client, broker, &route{ownBroker: true, way: l.cluster.Way()}
	s.queue.Init()
	s.account.s = s
	s.up.Connect(client, broker, nil)
	s.down.Connect(broker, client, nil)
	requestPump, responsePump := newRequestPump(s), newResponsePump(s)
	return func() {
		client.left, broker.left = requests, answers
		if why := requestPump.requests(); why.stop != stopClientEnded {
			tb.Fatal(why)
		}
		if err := responsePump.responses(); !errors.Is(err, io.EOF) {
			tb.Fatal(err)
		}
		if left := s.queue.Owed(); left > 0 {
			tb.Fatalf("%d requests have no response", left)
		}
	}
}

// No frame allocates memory, with all counters. The remaining allocations are those of the
// two ends of the tapes.
func TestPumpsAllocateNothingPerFrame(t *testing.T) {
	const frames = 500
	round := tapeSession(t, frames)
	round() // lets the queue and the buffers grow
	if got := testing.AllocsPerRun(20, round); got > 4 {
		t.Errorf("%v allocations for %d requests and their answers", got, frames)
	}
}

func BenchmarkPumps(b *testing.B) {
	const frames = 500
	round := tapeSession(b, frames)
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/request")
}

// A session that comes to a listener as it is removed drains.
func TestSessionOfARemovedListenerDrains(t *testing.T) {
	p := &Proxy{sessions: map[*session]attendance{}}
	l := &listener{removed: true}
	s := &session{proxy: p, entry: &entry{}, endpoint: &endpoint{listener: l}}
	p.enter(s)
	if why := s.life.leaving(); why == nil || why.reason != Drained {
		t.Errorf("it is asked to end: %v", why)
	}
	named := &session{proxy: p, entry: &entry{shared: true}, endpoint: &endpoint{listener: l}}
	if p.enter(named); named.life.leaving() != nil {
		t.Error("it ends before its client has said whose it is")
	}
}

// A cluster decides how many nodes it names in the course of time, not how many counters there
// are. None is lost.
func TestCountsOfEndsAreBounded(t *testing.T) {
	var ends totals
	for node := range int32(maxClosedCounts + 100) {
		ends.close(Closing{node, BrokerClosed})
	}
	if n := ends.closed[Closing{UnknownNode, BrokerClosed}]; len(ends.closed) != maxClosedCounts+1 || n != 100 {
		t.Errorf("%d counters, %d ends of other nodes", len(ends.closed), n)
	}
}
