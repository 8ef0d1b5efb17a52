package cluster

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
	outcome Outcome
}

// dial counts an attempt to reach a broker.
func (t *clusterTally) dial(node int32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dials == nil {
		t.dials = map[dialling]int64{}
	}
	t.dials[dialling{node, OutcomeOf(err)}]++
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

// DialCounts returns how often each node was dialled, by outcome, in order.
func (c *Cluster) DialCounts() []DialCount {
	t := &c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []DialCount
	for d, n := range t.dials {
		all = append(all, DialCount{d.node, d.outcome, n})
	}
	slices.SortFunc(all, func(a, b DialCount) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// ChangeCounts returns how often the map changed, for every kind of change.
func (c *Cluster) ChangeCounts() []MapChangeCount {
	t := &c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []MapChangeCount
	for _, kind := range endpoints.ChangeKinds() {
		all = append(all, MapChangeCount{string(kind), t.changes[kind]})
	}
	return all
}

// DialCount counts attempts to reach a broker.
type DialCount struct {
	Node    int32 // NoNode for a bootstrap address
	Outcome Outcome
	Count   int64
}

// MapChangeCount counts changes of who is where.
type MapChangeCount struct {
	Kind  string // an endpoints.ChangeKind
	Count int64
}
