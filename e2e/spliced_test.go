//go:build e2e

package e2e

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

// TestLeaderMovesOfSplicedFrames moves leaders every 300 ms under frames that go through
// the kernel: records of 100 KB, one to a request, and responses of many of them. A load
// and a reader beside, which reach the brokers directly, have the same leaders move: a
// move may cost as much through kproxy as it costs them.
func TestLeaderMovesOfSplicedFrames(t *testing.T) {
	const (
		partitions = 6
		interval   = 300 * time.Millisecond
		perSecond  = 30
		size       = 100_000
	)
	base, err := shared.ports.Block(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	admin := lab.HostPort("127.0.0.1", base)
	t.Setenv("KPROXY_ADMIN_BIND", admin)
	topic := shared.kafka.NewTopic(t, "large", partitions)
	p := startKproxy(t, shared.kafka.byAddress())
	bob, direct := p.Via("bob"), listener{Name: "direct", Advertise: advertised(1), told: advertised}
	past := kgo.Dialer(shared.kafka.dialDirectly)
	whole := []kgo.Opt{ // or 100 KB of one letter would be compressed to nothing
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(size + 10_000),
	}

	readers := []*seen{newSeen("a reader through kproxy"), newSeen("a reader beside it")}
	startReader(t, bob, readers[0], kgo.ConsumeTopics(topic))
	startReader(t, direct, readers[1], kgo.ConsumeTopics(topic), past)
	through := startLoad(t, bob, topic, "through", perSecond, size, whole...)
	beside := startLoad(t, direct, topic, "beside", perSecond, size, append(whole, past)...)
	for _, r := range readers {
		r.WaitFor(t, 30*time.Second, 1)
	}
	moves := shared.kafka.MoveLeaders(t, topic, partitions, interval)
	duration := leaderMovesDuration(t)
	latecomers := welcomeLatecomers(t, bob, topic, readers[0], duration)
	moved := moves.Stop()
	want := slices.Concat(through.Stop(t), beside.Stop(t))

	for _, r := range readers {
		r.WaitForAll(t, time.Minute, topic, want)
		r.NoDuplicates(t)
	}
	if moved <= 20 {
		t.Errorf("leader changes: got %d, want more than 20", moved)
	}
	metrics, err := lab.Get(t.Context(), admin, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, direction := range []string{"up", "down"} {
		paths, err := lab.Counts(metrics, "kproxy_bytes_total", "path", map[string]string{"direction": direction})
		if err != nil {
			t.Fatal(err)
		}
		if paths["splice"] < len(through.sent)*size/2 {
			t.Errorf("bytes %s: %v, of %d records of %d: they were not spliced", direction, paths, len(through.sent), size)
		}
		t.Logf("bytes %s: %v", direction, paths)
	}
	t.Logf("%d records, %d leader changes in %v, %d latecomers", len(want), moved, duration, latecomers)
	for _, share := range []float64{0.5, 0.99, 1} {
		a, b := through.waited(share), beside.waited(share)
		t.Logf("of %3.0f %% of the records: acknowledged after at most %v through kproxy, %v directly: %.2f", 100*share, a, b, a.Seconds()/b.Seconds())
	}
}

// waited is the longest wait for an acknowledgement of this share of the records.
func (p *load) waited(share float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	sorted := slices.Sorted(slices.Values(p.waits))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// dialDirectly reaches a broker by the name that it advertises.
func (c *cluster) dialDirectly(ctx context.Context, network, address string) (net.Conn, error) {
	for _, b := range c.Brokers {
		if advertised(b.ID) == address {
			address = c.client(b.ID)
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}
