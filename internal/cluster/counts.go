package cluster

import (
	"cmp"
	"slices"
	"sync"

	"kproxy/internal/endpoints"
)

// totals counts dials of brokers and changes of the map.
type totals struct {
	mu      sync.Mutex // guards the following
	dials   map[dialling]int64
	changes map[endpoints.ChangeKind]int64
}

// dialling is one counter: attempts to reach a node that ended in the same way.
type dialling struct {
	node    int32
	outcome Outcome
}

const (
	// maxDialCounts bounds the counters of dials. A cluster of 100 brokers has a few hundred. One
	// that names ever new nodes would add some with each response.
	maxDialCounts = 20_000
	// otherNodes is the node of dials beyond that: proxy.UnknownNode.
	otherNodes = -2
)

// dial counts an attempt to reach a broker.
func (t *totals) dial(node int32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dials == nil {
		t.dials = map[dialling]int64{}
	}
	d := dialling{node, OutcomeOf(err)}
	if _, has := t.dials[d]; !has && len(t.dials) >= maxDialCounts {
		d.node = otherNodes
	}
	t.dials[d]++
}

// change counts changes of the map.
func (t *totals) change(changes []endpoints.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == nil {
		t.changes = map[endpoints.ChangeKind]int64{}
	}
	for _, change := range changes {
		t.changes[change.Kind]++
	}
}

// DialCounts returns the number of dials of each node by outcome, sorted.
func (c *Cluster) DialCounts() []DialCount {
	t := &c.totals
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

// ChangeCounts returns the number of changes of the map, for every kind of change.
func (c *Cluster) ChangeCounts() []MapChangeCount {
	t := &c.totals
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

// MapChangeCount counts changes of the map of one kind.
type MapChangeCount struct {
	Kind  string // an endpoints.ChangeKind
	Count int64
}
