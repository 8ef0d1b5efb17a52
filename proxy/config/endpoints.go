package config

import (
	"math"

	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
)

// AnyNode means all nodes of a listener with Nodes.SNI. Their names differ by the node id
// alone, and the advertised address has {node} in its place.
const AnyNode = -3 // -1 and -2 are proxy.NoNode and proxy.UnknownNode

// Endpoints are the endpoints of consecutive nodes of a listener, or its bootstrap endpoint.
type Endpoints struct {
	Cluster, Listener string

	FirstNode, LastNode             int32 // the same for a single node; NoNode: the bootstrap endpoint; AnyNode: all nodes
	FirstBind, LastBind             string
	FirstAdvertised, LastAdvertised string
}

// Endpoints returns the addresses that a proxy with this Plan would bind and advertise, as
// far as the configuration determines them: by first_node and pin. Any other node takes a
// free slot when a response names it.
func (p *Plan) Endpoints() []Endpoints {
	var all []Endpoints
	for _, cluster := range p.Clusters {
		for _, l := range cluster.Listeners {
			for _, e := range l.endpoints() {
				e.Cluster, e.Listener = cluster.Name, l.Name
				all = append(all, e)
			}
		}
	}
	return all
}

// endpoints returns the listener's part of Plan.Endpoints.
func (p *ListenerPlan) endpoints() []Endpoints {
	plan := []Endpoints{planned(upstream.NoNode, p.Bind, p.bootstrap.String())}
	if p.Nodes.SNI != "" {
		names := &p.Names
		return append(plan, planned(AnyNode, p.Bind, hostport.Join(names.before+nodeVariable+names.behind, names.port)))
	}
	joins := false // the next slot may continue the last run
	for slot, node := range p.nodesBySlot() {
		if node == upstream.NoNode {
			joins = false
			continue
		}
		next := planned(node, p.BindAddress(slot), p.advertised.at(slot).String())
		if last := &plan[len(plan)-1]; joins && last.LastNode == node-1 {
			last.LastNode, last.LastBind, last.LastAdvertised = next.LastNode, next.LastBind, next.LastAdvertised
			continue
		}
		plan = append(plan, next)
		joins = true
	}
	return plan
}

func planned(node int32, bind, advertised string) Endpoints {
	return Endpoints{
		FirstNode: node, LastNode: node,
		FirstBind: bind, LastBind: bind,
		FirstAdvertised: advertised, LastAdvertised: advertised,
	}
}

// nodesBySlot returns the node of every slot: the one that is pinned to it, or else that of
// first_node plus slot, unless that one is pinned to another slot.
func (p *ListenerPlan) nodesBySlot() []int32 {
	pins := p.pinnedSlots()
	nodes := make([]int32, p.Slots())
	for slot := range nodes {
		node := int64(p.Nodes.FirstNode) + int64(slot)
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
