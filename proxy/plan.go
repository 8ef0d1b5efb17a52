package proxy

import (
	"math"

	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
)

// AnyNode stands for all nodes of a listener, whose names differ by their ids.
// What is advertised then has {node} in it.
const AnyNode = -2

// PlannedEndpoints are what a listener would bind for consecutive nodes, or its
// bootstrap endpoint.
type PlannedEndpoints struct {
	Cluster, Listener string

	FirstNode, LastNode             int32 // the same for a single node; NoNode: the bootstrap endpoint; AnyNode: all nodes
	FirstBind, LastBind             string
	FirstAdvertised, LastAdvertised string
}

// Plan is what a Proxy with this Config would bind and advertise, as far as it
// is known before any broker has been asked: which node has which slot by
// first_node and pin. A node beyond that takes a free slot when it is seen. The
// Config must have passed Validate.
func (c *Config) Plan() []PlannedEndpoints {
	var plan []PlannedEndpoints
	for i := range c.Clusters {
		cluster := &c.Clusters[i]
		for _, l := range cluster.Listeners {
			l = l.in(cluster.Name)
			for _, p := range l.plan() {
				p.Cluster, p.Listener = cluster.Name, l.Name
				plan = append(plan, p)
			}
		}
	}
	return plan
}

// plan is the listener's part of Config.Plan.
func (l *Listener) plan() []PlannedEndpoints {
	host, port := l.advertisedBootstrap()
	plan := []PlannedEndpoints{planned(upstream.NoNode, l.Bind, hostport.Join(host, port))}
	if l.Nodes.SNI != "" {
		names := l.nodeNames()
		return append(plan, planned(AnyNode, l.Bind, hostport.Join(names.before+nodeVariable+names.behind, names.port)))
	}
	joins := false // whether the next slot may continue the last run
	for slot, node := range l.nodesBySlot() {
		if node == upstream.NoNode {
			joins = false
			continue
		}
		next := planned(node, l.bindAddress(slot), hostport.Join(l.advertisedAddress(slot)))
		if last := &plan[len(plan)-1]; joins && last.LastNode == node-1 {
			last.LastNode, last.LastBind, last.LastAdvertised = next.LastNode, next.LastBind, next.LastAdvertised
			continue
		}
		plan = append(plan, next)
		joins = true
	}
	return plan
}

func planned(node int32, bind, advertised string) PlannedEndpoints {
	return PlannedEndpoints{
		FirstNode: node, LastNode: node,
		FirstBind: bind, LastBind: bind,
		FirstAdvertised: advertised, LastAdvertised: advertised,
	}
}

// nodesBySlot is the node that every slot is kept for: the one pinned to it,
// else the formula's, unless that one is pinned elsewhere.
func (l *Listener) nodesBySlot() []int32 {
	pins := l.pinnedSlots()
	nodes := make([]int32, l.slots())
	for slot := range nodes {
		node := int64(l.Nodes.FirstNode) + int64(slot)
		nodes[slot] = int32(node)
		if _, elsewhere := pins[int32(node)]; elsewhere || node > math.MaxInt32 {
			nodes[slot] = upstream.NoNode
		}
	}
	for node, slot := range pins {
		nodes[slot] = node
	}
	return nodes
}
