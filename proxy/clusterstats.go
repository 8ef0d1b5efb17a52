package proxy

import (
	"cmp"
	"slices"
	"sync"

	"kproxy/internal/endpoints"
)

// clusterTally counts what happens once in a session at most.
type clusterTally struct {
	mu      sync.Mutex // guards the following
	dials   map[dialling]int64
	changes map[endpoints.ChangeKind]int64
}

// dialling is how attempts to reach the same node went.
type dialling struct {
	node    int32
	outcome DialOutcome
}

// dial counts an attempt to reach a broker.
func (t *clusterTally) dial(node int32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dials == nil {
		t.dials = map[dialling]int64{}
	}
	t.dials[dialling{node, outcomeOf(err)}]++
}

// change counts what has changed in the map.
func (t *clusterTally) change(changes []endpoints.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == nil {
		t.changes = map[endpoints.ChangeKind]int64{}
	}
	for _, change := range changes {
		t.changes[change.Kind]++
	}
}

// stats returns what is known of a cluster, its listeners excepted.
func (c *cluster) stats() ClusterStats {
	health := c.health()
	stats := ClusterStats{Name: health.Name, Up: health.Up, LastAnswer: health.LastAnswer, Brokers: health.Brokers}
	t := &c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, n := range t.dials {
		stats.Dials = append(stats.Dials, DialCount{d.node, d.outcome, n})
	}
	slices.SortFunc(stats.Dials, func(a, b DialCount) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Outcome, b.Outcome))
	})
	for _, kind := range endpoints.ChangeKinds() {
		stats.MapChanges = append(stats.MapChanges, MapChangeCount{string(kind), t.changes[kind]})
	}
	return stats
}
