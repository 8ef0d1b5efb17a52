package config

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestEndpoints(t *testing.T) {
	tests := []struct {
		name  string
		nodes Nodes
		want  []string
	}{
		{"a range", Nodes{Ports: Range{9100, 9199}, FirstNode: 100}, []string{
			"node 100-199: 127.0.0.1:9100 to 127.0.0.1:9199, told kafka:9100 to kafka:9199",
		}},
		{"a foreign node in the middle", Nodes{Ports: Range{9100, 9109}, Pin: map[int32]int{1001: 9105}}, []string{
			"node 0-4: 127.0.0.1:9100 to 127.0.0.1:9104, told kafka:9100 to kafka:9104",
			"node 1001-1001: 127.0.0.1:9105 to 127.0.0.1:9105, told kafka:9105 to kafka:9105",
			"node 6-9: 127.0.0.1:9106 to 127.0.0.1:9109, told kafka:9106 to kafka:9109",
		}},
		{"a node that moved leaves its own slot to the next newcomer", Nodes{Ports: Range{9100, 9102}, Pin: map[int32]int{1: 9102}}, []string{
			"node 0-0: 127.0.0.1:9100 to 127.0.0.1:9100, told kafka:9100 to kafka:9100",
			"node 1-1: 127.0.0.1:9102 to 127.0.0.1:9102, told kafka:9102 to kafka:9102",
		}},
		{"ids end", Nodes{Ports: Range{9100, 9102}, FirstNode: math.MaxInt32 - 1}, []string{
			"node 2147483646-2147483647: 127.0.0.1:9100 to 127.0.0.1:9101, told kafka:9100 to kafka:9101",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Clusters: []Cluster{{Name: "orders", Bootstrap: []string{"b:9092"}, Listeners: []Listener{{Name: "fred", Bind: "127.0.0.1:9092", Advertise: "kafka:443", Nodes: tt.nodes}}}}}
			plan, err := c.Compile()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range plan.Endpoints() {
				got = append(got, fmt.Sprintf("node %d-%d: %s to %s, told %s to %s", p.FirstNode, p.LastNode, p.FirstBind, p.LastBind, p.FirstAdvertised, p.LastAdvertised))
			}
			want := append([]string{"node -1--1: 127.0.0.1:9092 to 127.0.0.1:9092, told kafka:443 to kafka:443"}, tt.want...)
			if !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}
