package proxy

import (
	"maps"
	"slices"
	"sync"

	"kproxy/rewrite"
)

// RoutingCount counts responses by which a broker shows that it is not the one that a client asked
// for. A balancer or a dial rule with a mistake leads to another broker, and no connection fails.
type RoutingCount struct {
	Node int32 // whose address was dialled; UnknownNode where thousands have counters
	// Misrouted counts ApiVersions responses with REBOOTSTRAP_REQUIRED (KIP-1242, Kafka 4.4): the
	// broker or its cluster is another one than the client names.
	Misrouted int64
	// LeaderAnother counts responses with leader hints (KIP-951, Kafka 3.7): another broker than the
	// one that responds leads a partition. They come when leaders move. A client that gets them for
	// ever does not reach the broker that it asks for.
	LeaderAnother int64
	// LeaderItself counts responses whose hints name Node itself: another broker responds at its
	// address. Some come when leaders move, because of a client's old leader epoch.
	LeaderItself int64
}

// routing has the counts of a listener by node.
type routing struct {
	mu    sync.Mutex // guards the following
	nodes map[int32]*RoutingCount
}

// maxRoutingCounts bounds the nodes that have counts of their own: a cluster may name ever new ones.
const maxRoutingCounts = 20_000

// misrouted counts a refusal by the broker at the address of a node.
func (r *routing) misrouted(node int32) {
	r.count(node, func(c *RoutingCount) { c.Misrouted++ })
}

// hinted counts a response with leader hints from the address of a node.
func (r *routing) hinted(node int32, leaders []rewrite.Broker) {
	isItself := slices.ContainsFunc(leaders, func(b rewrite.Broker) bool { return b.Node == node })
	r.count(node, func(c *RoutingCount) {
		if isItself {
			c.LeaderItself++
		} else {
			c.LeaderAnother++
		}
	})
}

func (r *routing) count(node int32, add func(*RoutingCount)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes == nil {
		r.nodes = map[int32]*RoutingCount{}
	}
	if r.nodes[node] == nil && len(r.nodes) >= maxRoutingCounts {
		node = UnknownNode
	}
	if r.nodes[node] == nil {
		r.nodes[node] = &RoutingCount{Node: node}
	}
	add(r.nodes[node])
}

// counts returns them, by node.
func (r *routing) counts() []RoutingCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]RoutingCount, 0, len(r.nodes))
	for _, node := range slices.Sorted(maps.Keys(r.nodes)) {
		all = append(all, *r.nodes[node])
	}
	return all
}
