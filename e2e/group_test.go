//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestGroupRebalancesUnderLoad has members come and go, each through another listener,
// while records arrive. A member that gets a wrong coordinator or loses its connection in
// a rebalance loses records or stalls.
func TestGroupRebalancesUnderLoad(t *testing.T) {
	const partitions = 6
	tests := []struct {
		name string
		opts []kgo.Opt
	}{
		{"classic", []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}},
		{"consumer", []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}}, // KIP-848
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			topic := shared.kafka.NewTopic(t, "group-"+tt.name, partitions)
			p := startKproxy(t, shared.kafka.byAddress())
			load := startLoad(t, p.Via("bob"), topic, "g", 500, 0)
			all := newSeen("the group")
			join := func(listener string) *reader {
				return startReader(t, p.Via(listener), all, append(tt.opts, kgo.ConsumeTopics(topic),
					kgo.ConsumerGroup(topic), kgo.HeartbeatInterval(300*time.Millisecond))...)
			}

			alice := join("alice")
			alice.ReadMore(t, 200)
			fred := join("fred")
			fred.ReadMore(t, 100)
			many := join("many")
			many.ReadMore(t, 100)
			alice.ReadMore(t, 50)
			many.Leave()
			fred.ReadMore(t, 100)
			fred.Leave()
			alice.ReadMore(t, 500)

			all.WaitForAll(t, 30*time.Second, topic, load.Stop(t))
		})
	}
}
