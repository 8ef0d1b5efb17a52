package endpoints

import (
	"cmp"
	"slices"
	"time"
)

// Differs reports whether a response contradicts the Map: a known node is elsewhere, an
// address is another known node's, or another cluster responds.
func (m *Map) Differs(a Response) bool {
	if m.IsOther(a.ClusterID) {
		return true
	}
	named := make(map[int32]bool, len(a.Brokers))
	places := holders(a.Brokers)
	for _, b := range a.Brokers {
		n := m.nodes[b.Node]
		if n != nil && n.current.place() != b.place() && places[b.place()] == b.Node {
			return true
		}
		named[b.Node] = true
	}
	for id, n := range m.nodes {
		if by, ok := places[n.current.place()]; ok && by != id && !named[id] {
			return true
		}
	}
	return false
}

// holders returns the nodes by address. Of two at one address the lower id has it, in
// whatever order they are named.
func holders(brokers []Broker) map[place]int32 {
	all := make(map[place]int32, len(brokers))
	for _, b := range brokers {
		if by, ok := all[b.place()]; b.Node >= 0 && (!ok || b.Node < by) {
			all[b.place()] = b.Node
		}
	}
	return all
}

// IsOther reports whether a cluster's id differs from the known one.
func (m *Map) IsOther(clusterID string) bool {
	return clusterID != "" && m.clusterID != "" && clusterID != m.clusterID
}

// Teach takes the brokers that a Metadata response names. An unknown node is
// added. A known one moves as trust says. A node that is not named stays; a broker
// that restarts is missing for a while. But a node whose address a named node has
// now has none left: its endpoint must not reach another broker.
func (m *Map) Teach(a Response, trust Trust) []Change {
	places := holders(a.Brokers)
	var takes map[place]int32
	if trust == Asked {
		takes = places
	}
	changes := m.add(a, takes)
	told := make(map[int32]bool, len(a.Brokers))
	for _, b := range a.Brokers {
		n := m.nodes[b.Node]
		if n == nil || told[b.Node] {
			continue // a negative id, one too many, or a duplicate: that is one response, and not two that agree
		}
		told[b.Node] = true
		changes = append(changes, m.teach(n, b, &a, trust, places)...)
	}
	changes = append(changes, m.dispossess(a.Brokers)...)
	m.prune(told, a.At)
	return changes
}

// teach merges the entry of one node in one response. places has the response's nodes
// by where they are.
func (m *Map) teach(n *node, b Broker, a *Response, trust Trust, places map[place]int32) []Change {
	now := a.At
	by, isTaken := places[n.current.place()]
	isTaken = isTaken && by != b.Node
	isFrozen := now.Before(m.frozen) && (!isTaken || n.next.place() != b.place() || a.Heard)
	switch {
	case n.current.place() == b.place() && trust == Asked:
		// The address in a client's response is still tried if this one cannot be
		// dialled.
		n.confirm(a.From)
	case n.current.place() == b.place(), places[b.place()] != b.Node: // or two are named at one address
		n.next = Broker{}
	case n.current.Host == "", trust == Asked && n.outvoted(b, a.From, now):
		moved := n.moveTo(b, now)
		if trust == Asked {
			n.confirm(a.From)
		}
		return []Change{moved}
	case trust != Told, isFrozen:
		n.next = b
	case isTaken && now.Sub(n.moved) >= goesBack:
		return []Change{n.moveTo(b, now)}
	case n.next.place() == b.place() && !a.Heard:
		return m.moveOrFreeze(n, b, now)
	default:
		n.next = b
	}
	return nil
}

// moveOrFreeze moves a node. If it goes back to its address of a moment ago, it stays
// there, because responses have named that address for longer than any other.
func (m *Map) moveOrFreeze(n *node, b Broker, now time.Time) []Change {
	moved := n.moveTo(b, now)
	if n.goesBack {
		m.frozen = now.Add(freeze)
		return []Change{moved, {Kind: Contradicted, Broker: b}}
	}
	return []Change{moved}
}

// confirm notes that a broker has the node where the Map has it.
func (n *node) confirm(from string) {
	delete(n.against, from)
	vote(&n.votes, from)
}

// outvoted notes that a broker has the node at b, and reports whether enough brokers do
// so to move it: as many as have it elsewhere, or more if it would go back to its address
// of a moment ago.
func (n *node) outvoted(b Broker, from string, now time.Time) bool {
	if n.rival.place() != b.place() {
		n.rival, n.against = b, nil
	}
	delete(n.votes, from)
	vote(&n.against, from)
	need := len(n.votes)
	if n.wouldGoBack(b, now) {
		need++
	}
	return len(n.against) >= need
}

func vote(votes *map[string]bool, from string) {
	if *votes == nil {
		*votes = map[string]bool{}
	}
	if len(*votes) < maxVoters {
		(*votes)[from] = true
	}
}

// wouldGoBack reports whether b is the node's address of a moment ago.
func (n *node) wouldGoBack(b Broker, now time.Time) bool {
	return n.was.Host != "" && n.was.place() == b.place() && now.Sub(n.moved) < goesBack
}

// dispossess removes the addresses of nodes that a named node has now.
func (m *Map) dispossess(named []Broker) []Change {
	holder := holders(slices.DeleteFunc(slices.Clone(named), func(b Broker) bool {
		n := m.nodes[b.Node]
		return n == nil || n.current.Host == "" || n.current.place() != b.place()
	}))
	var changes []Change
	for id, n := range m.nodes {
		if by, taken := holder[n.current.place()]; taken && by != id && !m.isFixed(id) {
			n.current = Broker{Node: id}
			changes = append(changes, Change{Kind: Gone, Broker: n.current})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Broker.Node, b.Broker.Node) })
	return changes
}
