package proxy

import (
	"testing"

	"kproxy/rewrite"
)

// A cluster decides how many nodes it names in the course of time, not how many counters there
// are. None is lost.
func TestCountsOfRoutingAreBounded(t *testing.T) {
	var r routing
	for node := range int32(maxRoutingCounts + 100) {
		r.hinted(node, []rewrite.Broker{{Node: node + 1}})
	}
	all := r.counts()
	if len(all) != maxRoutingCounts+1 || all[0] != (RoutingCount{Node: UnknownNode, LeaderAnother: 100}) || all[2] != (RoutingCount{Node: 1, LeaderAnother: 1}) {
		t.Errorf("%d counters, the first %+v", len(all), all[:3])
	}
}
