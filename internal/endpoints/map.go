package endpoints

import (
	"cmp"
	"maps"
	"slices"
)

// Broker is a node of the cluster, and the address that the cluster gives for
// it.
type Broker struct {
	Node int32
	Host string // without brackets
	Port int32
}

// Map is the map of one cluster. It is not safe for concurrent use.
type Map struct {
	nodes     map[int32]*node
	listeners []*slots
}

// node is a broker that some answer has named.
type node struct {
	current Broker
	next    Broker // what the last answer said instead; zero where it agreed
}

// New returns an empty Map of a cluster with these listeners. A listener is
// named by its index from here on.
func New(layouts []Layout) *Map {
	m := &Map{nodes: map[int32]*node{}}
	for _, l := range layouts {
		m.listeners = append(m.listeners, newSlots(l))
	}
	return m
}

// ChangeKind says what changed in a Map.
type ChangeKind string

// The kinds of Change.
const (
	Added      ChangeKind = "added"      // a node that was not known
	Moved      ChangeKind = "moved"      // a node has another address
	Overflowed ChangeKind = "overflowed" // a node lies outside a listener's range and took a free slot
	Unmapped   ChangeKind = "unmapped"   // a node has no slot: the listener's range is full
)

// Change is one change of a Map.
type Change struct {
	Kind     ChangeKind
	Broker   Broker
	Listener int // index, for Overflowed and Unmapped
	Slot     int // for Overflowed
}

// Teach takes the brokers that a Metadata answer names. An unknown node is
// added. A known one moves when two answers in a row give the same new address:
// one alone may be older than what is known. A node that is not named stays; a
// broker that restarts is missing for a while.
func (m *Map) Teach(brokers []Broker) []Change {
	changes := m.Add(brokers)
	for _, b := range brokers {
		n := m.nodes[b.Node]
		switch {
		case n == nil: // a negative id
		case n.current == b:
			n.next = Broker{}
		case n.next == b:
			changes = append(changes, n.move())
		default:
			n.next = b
		}
	}
	return changes
}

// Add takes the brokers that an answer other than Metadata names: only unknown
// nodes are added. Negative ids name nobody.
func (m *Map) Add(brokers []Broker) []Change {
	unknown := slices.Clone(brokers)
	unknown = slices.DeleteFunc(unknown, func(b Broker) bool { return b.Node < 0 || m.nodes[b.Node] != nil })
	slices.SortFunc(unknown, func(a, b Broker) int { return cmp.Compare(a.Node, b.Node) })
	var changes []Change
	for _, b := range unknown {
		if m.nodes[b.Node] != nil {
			continue // named twice in one answer
		}
		m.nodes[b.Node] = &node{current: b}
		changes = append(changes, Change{Kind: Added, Broker: b})
		for i, s := range m.listeners {
			changes = append(changes, s.assign(i, b)...)
		}
	}
	return changes
}

// Failed says that a dial of b failed. If the last answer gave another address
// for the node, it moves there.
func (m *Map) Failed(b Broker) []Change {
	n := m.nodes[b.Node]
	if n == nil || n.current != b || n.next == (Broker{}) {
		return nil
	}
	return []Change{n.move()}
}

func (n *node) move() Change {
	n.current, n.next = n.next, Broker{}
	return Change{Kind: Moved, Broker: n.current}
}

// Node returns the node with this id.
func (m *Map) Node(id int32) (Broker, bool) {
	n := m.nodes[id]
	if n == nil {
		return Broker{}, false
	}
	return n.current, true
}

// Nodes returns all nodes by ascending id.
func (m *Map) Nodes() []Broker {
	var all []Broker
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		all = append(all, m.nodes[id].current)
	}
	return all
}

// Slot returns the slot of a known node at a listener; ok is false where the
// node is unknown or the listener's range was full.
func (m *Map) Slot(listener int, id int32) (slot int, ok bool) {
	slot, ok = m.listeners[listener].ofNode[id]
	return slot, ok
}

// NodeAt returns the known node that has this slot of a listener.
func (m *Map) NodeAt(listener, slot int) (Broker, bool) {
	id, ok := m.listeners[listener].ofSlot[slot]
	if !ok {
		return Broker{}, false
	}
	return m.Node(id)
}
