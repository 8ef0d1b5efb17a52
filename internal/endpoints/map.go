package endpoints

import (
	"cmp"
	"maps"
	"slices"
	"time"
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
	forgetAfter time.Duration
	clusterID   string // "" until an answer has said it
	nodes       map[int32]*node
	listeners   []*slots
}

// node is a broker that some answer has named.
type node struct {
	current Broker    // Host is "" where the address has become another node's
	next    Broker    // what the last answer said instead; zero where it agreed
	seen    time.Time // when an answer named it last
}

// New returns an empty Map of a cluster with these listeners. A listener is
// named by its index from here on. A node that no answer has named for
// forgetAfter may lose its slot to one that finds none.
func New(layouts []Layout, forgetAfter time.Duration) *Map {
	m := &Map{forgetAfter: forgetAfter, nodes: map[int32]*node{}}
	for _, l := range layouts {
		m.listeners = append(m.listeners, newSlots(l))
	}
	return m
}

// Answer is what an answer says about the cluster.
type Answer struct {
	ClusterID string // "" where the answer does not say
	Brokers   []Broker
	At        time.Time
}

// ChangeKind says what changed in a Map.
type ChangeKind string

// The kinds of Change.
const (
	Added      ChangeKind = "added"      // a node that was not known
	Moved      ChangeKind = "moved"      // a node has another address
	Gone       ChangeKind = "gone"       // a node's address has become another node's
	Overflowed ChangeKind = "overflowed" // a node lies outside a listener's range and took a free slot
	Evicted    ChangeKind = "evicted"    // a node lost its slot: it had not been seen for long, and the range was full
	Unmapped   ChangeKind = "unmapped"   // a node has no slot: the listener's range is full
	Replaced   ChangeKind = "replaced"   // another cluster answers: all that was known is forgotten
)

// ChangeKinds are all kinds, in the order in which they are listed above.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{Added, Moved, Gone, Overflowed, Evicted, Unmapped, Replaced}
}

// Change is one change of a Map.
type Change struct {
	Kind     ChangeKind
	Broker   Broker // zero for Replaced
	Listener int    // index, for Overflowed, Evicted and Unmapped
	Slot     int    // for Overflowed and Evicted
}

// Teach takes the brokers that a Metadata answer names. An unknown node is
// added. A known one moves when two answers in a row give the same new address:
// one alone may be older than what is known. A node that is not named stays; a
// broker that restarts is missing for a while. But where its address is now that
// of a named one, it has none left: its endpoint must not reach another broker.
func (m *Map) Teach(a Answer) []Change {
	changes := m.Add(a)
	owner := map[Broker]int32{}
	for _, b := range a.Brokers {
		n := m.nodes[b.Node]
		if n == nil {
			continue // a negative id
		}
		if by, ok := owner[b.anonymous()]; ok && by == b.Node {
			continue // named twice: that is one answer, and not two that agree
		}
		owner[b.anonymous()] = b.Node
		switch {
		case n.current == b:
			n.next = Broker{}
		case n.next == b, n.current.Host == "":
			changes = append(changes, n.moveTo(b))
		default:
			n.next = b
		}
	}
	for _, id := range m.ids() {
		n := m.nodes[id]
		if by, taken := owner[n.current.anonymous()]; taken && by != id && !named(a.Brokers, id) {
			n.current = Broker{Node: id}
			changes = append(changes, Change{Kind: Gone, Broker: n.current})
		}
	}
	m.prune(a.Brokers, a.At)
	return changes
}

// anonymous is b without its id: where it is, whoever it is.
func (b Broker) anonymous() Broker { return Broker{Host: b.Host, Port: b.Port} }

func named(brokers []Broker, id int32) bool {
	return slices.ContainsFunc(brokers, func(b Broker) bool { return b.Node == id })
}

// Add takes the brokers that an answer other than Metadata names: only unknown
// nodes are added. Negative ids name nobody.
func (m *Map) Add(a Answer) []Change {
	changes := m.identify(a.ClusterID)
	brokers := slices.DeleteFunc(slices.Clone(a.Brokers), func(b Broker) bool { return b.Node < 0 })
	slices.SortStableFunc(brokers, func(a, b Broker) int { return cmp.Compare(a.Node, b.Node) })
	fresh := map[int32]bool{}
	for _, b := range brokers {
		n := m.nodes[b.Node]
		if n == nil {
			n = &node{current: b}
			m.nodes[b.Node] = n
			fresh[b.Node] = true
		}
		n.seen = a.At
		for _, s := range m.listeners {
			s.giveOwn(b.Node) // before any of them takes what is free
		}
	}
	for _, b := range brokers {
		if fresh[b.Node] {
			delete(fresh, b.Node) // it may be named twice
			changes = append(changes, Change{Kind: Added, Broker: b})
		}
		for i, s := range m.listeners {
			changes = append(changes, m.place(i, s, b, a.At)...)
		}
	}
	return changes
}

// identify notes the cluster's id. Another one than before means that another
// cluster answers at the same addresses, of which nothing is known.
func (m *Map) identify(clusterID string) []Change {
	if clusterID == "" || clusterID == m.clusterID {
		return nil
	}
	replaced := m.clusterID != "" && len(m.nodes) > 0
	m.clusterID = clusterID
	if !replaced {
		return nil
	}
	clear(m.nodes)
	for i, s := range m.listeners {
		m.listeners[i] = newSlots(s.layout)
	}
	return []Change{{Kind: Replaced}}
}

// place gives a node that has no slot of a listener a free one, or one whose node
// has not been seen for long.
func (m *Map) place(listener int, s *slots, b Broker, now time.Time) []Change {
	if _, ok := s.ofNode[b.Node]; ok {
		return nil
	}
	if slot, ok := s.lastFree(); ok {
		s.give(b.Node, slot)
		return []Change{{Kind: Overflowed, Broker: b, Listener: listener, Slot: slot}}
	}
	if old, ok := m.longestUnseen(s, now); ok {
		slot := s.take(old.Node)
		s.give(b.Node, slot)
		return []Change{
			{Kind: Evicted, Broker: old, Listener: listener, Slot: slot},
			{Kind: Overflowed, Broker: b, Listener: listener, Slot: slot},
		}
	}
	if s.full[b.Node] {
		return nil // said before
	}
	s.full[b.Node] = true
	return []Change{{Kind: Unmapped, Broker: b, Listener: listener}}
}

// longestUnseen returns the node of a listener that has been unseen longest, if
// that is longer than forgetAfter. Of several the lowest id goes. Pinned nodes
// stay, and so do those that the answer of now names.
func (m *Map) longestUnseen(s *slots, now time.Time) (Broker, bool) {
	var oldest *node
	for _, id := range slices.Sorted(maps.Keys(s.ofNode)) {
		n := m.nodes[id]
		if _, isPinned := s.layout.Pinned[id]; isPinned || now.Sub(n.seen) < m.forgetAfter {
			continue
		}
		if oldest == nil || n.seen.Before(oldest.seen) {
			oldest = n
		}
	}
	if oldest == nil {
		return Broker{}, false
	}
	return oldest.current, true
}

// prune forgets the nodes that have no slot anywhere and are not named: ids
// that only ever grow must not fill the memory. A clock that was set back makes
// nobody seen in the future.
func (m *Map) prune(brokers []Broker, now time.Time) {
	for _, id := range m.ids() {
		if n := m.nodes[id]; n.seen.After(now) {
			n.seen = now
		}
		placed := slices.ContainsFunc(m.listeners, func(s *slots) bool { _, ok := s.ofNode[id]; return ok })
		if !placed && !named(brokers, id) {
			delete(m.nodes, id)
			for _, s := range m.listeners {
				delete(s.full, id)
			}
		}
	}
}

func (m *Map) ids() []int32 { return slices.Sorted(maps.Keys(m.nodes)) }

// Failed says that a dial of b failed. If the last answer gave another address
// for the node, it moves there.
func (m *Map) Failed(b Broker) []Change {
	n := m.nodes[b.Node]
	if n == nil || n.current != b || n.next == (Broker{}) {
		return nil
	}
	return []Change{n.moveTo(n.next)}
}

func (n *node) moveTo(b Broker) Change {
	n.current, n.next = b, Broker{}
	return Change{Kind: Moved, Broker: b}
}

// ClusterID returns the cluster's id, or "" while no answer has said it.
func (m *Map) ClusterID() string { return m.clusterID }

// Node returns the node with this id. Its Host is "" where its last address has
// become another node's.
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
	for _, id := range m.ids() {
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

// Overflowed returns, by ascending id, the nodes that have a slot of a listener
// which does not follow from the configuration: another proxy with the same one
// may have given them others.
func (m *Map) Overflowed(listener int) []int32 {
	return slices.Sorted(maps.Keys(m.listeners[listener].overflow()))
}
