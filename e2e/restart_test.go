//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
)

// TestBrokerRestartUnderLoad stops a broker and restarts it. Its endpoint must lead
// nowhere meanwhile, and to it again afterwards.
func TestBrokerRestartUnderLoad(t *testing.T) {
	tests := []struct {
		name string
		node int32
		end  func(*lab.Broker) error
	}{
		{"rolling", 2, (*lab.Broker).Stop},
		{"killed", 3, (*lab.Broker).Kill},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			topic := shared.kafka.NewTopic(t, "restart-"+tt.name, 6)
			p := startKproxy(t, shared.kafka.byAddress())
			all := newSeen("the group")
			load := startLoad(t, p.Via("fred"), topic, "r", 300, 0)
			reader := startReader(t, p.Via("alice"), all, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic))
			reader.ReadMore(t, 100)

			shared.kafka.Restart(t, tt.node, tt.end)

			reader.ReadMore(t, 500)
			all.WaitForAll(t, time.Minute, topic, load.Stop(t))
		})
	}
}

// TestKproxyRestartUnderLoad restarts kproxy, which then knows no broker: the clients
// reconnect to a node's endpoint before kproxy has learned the map.
func TestKproxyRestartUnderLoad(t *testing.T) {
	topic := shared.kafka.NewTopic(t, "restart-kproxy", 6)
	p := startKproxy(t, shared.kafka.byAddress())
	all := newSeen("the group")
	load := startLoad(t, p.Via("fred"), topic, "k", 300, 0)
	reader := startReader(t, p.Via("alice"), all, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic))
	reader.ReadMore(t, 100)

	p.Stop(t)
	p.Start(t)

	reader.ReadMore(t, 500)
	all.WaitForAll(t, time.Minute, topic, load.Stop(t))
}
