package cluster

import "testing"

// A cluster decides how many nodes it names in the course of time, not how many counters there
// are. None is lost.
func TestCountsOfDialsAreBounded(t *testing.T) {
	const nodes = maxDialCounts + 100
	var c Cluster
	for range 2 {
		for node := range int32(nodes) {
			c.totals.dial(node, nil)
		}
	}
	all := c.DialCounts()
	sum := int64(0)
	for _, d := range all {
		sum += d.Count
	}
	if len(all) != maxDialCounts+1 || sum != 2*nodes || all[0].Node != otherNodes || all[0].Count != 200 {
		t.Errorf("%d counters with %d dials; the first is %+v", len(all), sum, all[0])
	}
}
