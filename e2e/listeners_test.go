//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kproxy/e2e/lab"
)

// TestKcatListsEachListenersAddresses is the story: one cluster, and each user's `kcat
// -L` shows the addresses that work in their network.
func TestKcatListsEachListenersAddresses(t *testing.T) {
	topic := shared.kafka.NewTopic(t, "listed", 3)
	p := startKproxy(t, shared.kafka.byAddress())
	for _, l := range p.listeners {
		t.Run(l.Name, func(t *testing.T) {
			got := listBrokers(t, l, topic)
			if want := l.Told(); !maps.Equal(got, want) {
				t.Errorf("brokers: got %v, want %v", got, want)
			}
		})
	}
}

// TestKcatListsForPeople checks the output without -J.
func TestKcatListsForPeople(t *testing.T) {
	p := startKproxy(t, shared.kafka.byAddress())
	l := p.Via("fred")
	got := kcat(t, l, nil, "-L").stdout
	for id, address := range l.Told() {
		want := fmt.Sprintf("broker %d at %s", id, address)
		if !strings.Contains(got, want) {
			t.Errorf("kcat -L does not say %q:\n%s", want, got)
		}
	}
}

// TestDialRules reaches the brokers by each form of a rule. A bootstrap address
// has no node id yet, so a rule with {node} cannot lead there.
func TestDialRules(t *testing.T) {
	k := shared.kafka
	topic := k.NewTopic(t, "dialled", 3)
	var names, byName, byNode []string
	for _, b := range k.Brokers {
		names = append(names, advertised(b.ID))
		byName = append(byName, fmt.Sprintf("{match: %q, to: %q}", advertised(b.ID), k.client(b.ID)))
		byNode = append(byNode, fmt.Sprintf("{node: %d, to: %q}", b.ID, k.client(b.ID)))
	}
	tests := []struct {
		name  string
		route route
	}{
		{"a sum, bootstrap by address", k.byAddress()},
		{"each name", route{Bootstrap: names, Dial: byName}},
		{"each node, then the name of one bootstrap broker", route{
			Bootstrap: names[1:2],
			Dial:      append(slices.Clone(byNode), byName[1]),
		}},
		{"a capture, in another case", route{
			Bootstrap: names,
			Dial:      []string{fmt.Sprintf("{match: \"BROKER-*.vpc.invalid:*\", to: \"127.0.0.1:%d{1}\"}", k.clientBase/lab.PortBlock)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := startKproxy(t, tt.route).Via("bob")
			if got, want := listBrokers(t, l, topic), l.Told(); !maps.Equal(got, want) {
				t.Errorf("brokers: got %v, want %v", got, want)
			}
			// A record to every partition, so to every broker.
			want := values(tt.name, 30)
			kcat(t, l, lines(want), "-P", "-t", topic, "-X", "topic.partitioner=random", "-X", "sticky.partitioning.linger.ms=0")
		})
	}
}

// listBrokers asks kcat for the brokers that a topic's metadata names, by id.
func listBrokers(t *testing.T, l listener, topic string) map[int32]string {
	t.Helper()
	out := kcat(t, l, nil, "-L", "-J", "-t", topic)
	var metadata struct {
		Brokers []struct {
			ID   int32
			Name string
		}
		Topics []struct {
			Topic      string
			Partitions []struct {
				Error  string
				Leader int32
			}
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &metadata); err != nil {
		t.Fatalf("kcat -L -J: %v\n%s", err, out.stdout)
	}
	for _, tp := range metadata.Topics {
		for i, p := range tp.Partitions {
			if p.Error != "" || p.Leader < 1 {
				t.Errorf("%s/%d: leader %d, error %q", tp.Topic, i, p.Leader, p.Error)
			}
		}
	}
	brokers := make(map[int32]string)
	for _, b := range metadata.Brokers {
		brokers[b.ID] = b.Name
	}
	return brokers
}
