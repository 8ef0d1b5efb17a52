package endpoints

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Broker is a node of the cluster, and the address that the cluster gives for
// it.
type Broker struct {
	Node int32
	Host string // without brackets
	Port int32
}

// Map is the map of one cluster. It is not safe for concurrent use. No two nodes
// have one address at one time, except for fixed ones.
type Map struct {
	// Fixed reports whether a node is dialled at one address whatever address the
	// cluster gives for it. Such a node keeps its address if it is another's, too. nil:
	// no node is fixed.
	Fixed func(node int32) bool

	forgetAfter time.Duration
	clusterID   string // "" until a response has said it
	nodes       map[int32]*node
	listeners   []*slots
	frozen      time.Time // until this time only a failed dial moves a node (see Told)
}

// node is a broker that some response has named.
type node struct {
	current  Broker    // Host is "" where the address has become another node's
	next     Broker    // the address in the last response if it differed; else zero
	seen     time.Time // when a response named it last
	was      Broker    // its address before it moved; zero: it has not
	moved    time.Time // when it did
	goesBack bool      // the last move was back to where it had been a moment before

	// The brokers' responses to kproxy's own requests since the node moved: votes are the
	// brokers that have it at current, against those that have it at rival.
	votes, against map[string]bool
	rival          Broker
}

// MaxNodes is how many nodes a Map keeps: more than any cluster has. Further ones
// are not added, so that the lies of a broker are bounded.
const MaxNodes = 10_000

const (
	// goesBack is the time within which a move back to the previous address shows that
	// responses contradict each other.
	goesBack = time.Minute
	// freeze is how long after that a single response does not move a node.
	freeze = 10 * time.Minute
	// maxVoters bounds the brokers whose responses about a node are remembered.
	maxVoters = 16
)

// New returns an empty Map of a cluster with these listeners. A listener is
// named by its index from here on. A node that no response has named for
// forgetAfter may lose its slot to one that finds none.
func New(layouts []Layout, forgetAfter time.Duration) *Map {
	m := &Map{forgetAfter: forgetAfter, nodes: map[int32]*node{}}
	for _, l := range layouts {
		m.listeners = append(m.listeners, newSlots(l))
	}
	return m
}

// Response is the content of a response about the cluster.
type Response struct {
	ClusterID string // "" where the response does not say
	Brokers   []Broker
	At        time.Time
	From      string // the broker that kproxy has asked, for Asked
	Heard     bool   // it was passed as Heard before and now as Told: it is not a second response
}

// Trust is how far Teach trusts a Metadata response about known nodes.
type Trust uint8

const (
	// Heard is a client's response while kproxy can ask the cluster itself. It
	// moves no node; Differs says whether it is worth a question.
	Heard Trust = iota
	// Told is a client's response while kproxy cannot ask, because the cluster wants a
	// login that only clients have. A node moves at once if the response names another
	// node at its address, and otherwise when two responses in a row give the same new
	// address. A node that moves back within a minute shows that the cluster's responses
	// differ by client: for ten minutes it moves only when a dial fails, or when two
	// responses name another node at its address.
	Told
	// Asked is the response to a question of kproxy's own. Nodes move at once, unless at
	// least as many other brokers have responded otherwise since the node moved last: one
	// broker that has not caught up does not move it back.
	Asked
)

// ChangeKind is the kind of a change in a Map.
type ChangeKind string

// The kinds of Change.
const (
	Added        ChangeKind = "added"        // a node that was not known
	Moved        ChangeKind = "moved"        // a node has another address
	Gone         ChangeKind = "gone"         // a node's address has become another node's
	Overflowed   ChangeKind = "overflowed"   // a node lies outside a listener's range and took a free slot
	Evicted      ChangeKind = "evicted"      // a node lost its slot, because the range was full: it had no address, or had not been seen for long
	Unmapped     ChangeKind = "unmapped"     // a node has no slot: the listener's range is full
	Replaced     ChangeKind = "replaced"     // another cluster responds: the whole map is forgotten
	Contradicted ChangeKind = "contradicted" // a node went back to where it was within a minute: responses differ by client
)

// ChangeKinds are all kinds, in the order in which they are listed above.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{Added, Moved, Gone, Overflowed, Evicted, Unmapped, Replaced, Contradicted}
}

// Change is one change of a Map.
type Change struct {
	Kind     ChangeKind
	Broker   Broker // zero for Replaced
	Listener int    // index, for Overflowed, Evicted and Unmapped
	Slot     int    // for Overflowed and Evicted
}

// place is a broker's address, whichever node it is. Names are compared as DNS
// compares them.
type place struct {
	host string
	port int32
}

func (b Broker) place() place {
	return place{strings.ToLower(strings.TrimSuffix(b.Host, ".")), b.Port}
}

// IsAt reports whether both have one address.
func (b Broker) IsAt(other Broker) bool { return b.place() == other.place() }

func (m *Map) isFixed(node int32) bool { return m.Fixed != nil && m.Fixed(node) }

// Add takes the brokers that a response other than Metadata names: only unknown nodes are
// added. It moves no node and takes no address away, so one that is named at a known
// node's address has none until Metadata gives it one. It does not identify the cluster
// either. Negative ids are no nodes.
func (m *Map) Add(a Response) []Change {
	taken := make(map[place]int32, len(m.nodes))
	for id, n := range m.nodes {
		taken[n.current.place()] = id
	}
	a.ClusterID = ""
	changes := m.add(a, nil)
	for _, c := range changes {
		if _, isTaken := taken[c.Broker.place()]; c.Kind == Added && isTaken && !m.isFixed(c.Broker.Node) {
			n := m.nodes[c.Broker.Node]
			n.current, n.next = Broker{Node: c.Broker.Node}, c.Broker
		}
	}
	return changes
}

// add gives each node an entry and slots. takes has the nodes of a response that takes addresses away by these; nil: it takes none.
func (m *Map) add(a Response, takes map[place]int32) []Change {
	changes := m.identify(a.ClusterID)
	brokers := slices.DeleteFunc(slices.Clone(a.Brokers), func(b Broker) bool { return b.Node < 0 })
	slices.SortStableFunc(brokers, func(a, b Broker) int { return cmp.Compare(a.Node, b.Node) })
	fresh := map[int32]bool{}
	hasForgotten := false
	for _, b := range brokers {
		n := m.nodes[b.Node]
		if n == nil && len(m.nodes) == MaxNodes && !hasForgotten {
			hasForgotten = true
			m.forgetUnseen(brokers, a.At)
		}
		if n == nil && len(m.nodes) == MaxNodes {
			continue
		}
		if n == nil {
			n = &node{current: b}
			m.nodes[b.Node] = n
			fresh[b.Node] = true
		}
		n.seen = a.At
	}
	for _, b := range brokers { // before any of them takes a free slot
		if m.nodes[b.Node] == nil {
			continue
		}
		for i, s := range m.listeners {
			changes = append(changes, m.reclaim(b.Node, i, a.At, takes)...)
			s.giveOwn(b.Node)
		}
	}
	vacancies := make([]vacancy, len(m.listeners))
	for _, b := range brokers {
		if m.nodes[b.Node] == nil {
			continue
		}
		if fresh[b.Node] {
			delete(fresh, b.Node) // it may be named twice
			changes = append(changes, Change{Kind: Added, Broker: b})
		}
		for i := range m.listeners {
			changes = append(changes, m.seat(b, i, &vacancies[i], a.At)...)
		}
	}
	return changes
}

// identify notes the cluster's id. A changed id means that another, unknown cluster is at
// the same addresses.
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

// prune forgets the nodes that have no slot anywhere and are not named, so that
// ever-growing ids do not fill the memory. If the clock was set back, it corrects times
// in the future.
func (m *Map) prune(named map[int32]bool, now time.Time) {
	for id, n := range m.nodes {
		if n.seen.After(now) {
			n.seen = now
		}
		placed := slices.ContainsFunc(m.listeners, func(s *slots) bool { _, ok := s.ofNode[id]; return ok })
		if !placed && !named[id] {
			m.forget(id)
		}
	}
}

// forget removes a node, and its slots.
func (m *Map) forget(id int32) {
	delete(m.nodes, id)
	for _, s := range m.listeners {
		delete(s.full, id)
		if _, placed := s.ofNode[id]; placed {
			s.take(id)
		}
	}
}

// forgetUnseen forgets the nodes that are not named and were unseen for forgetAfter: in a full map they keep new
// ones out. A listener with server names has a slot for each id, so that prune forgets none of its nodes.
func (m *Map) forgetUnseen(named []Broker, now time.Time) {
	keep := make(map[int32]bool, len(named))
	for _, b := range named {
		keep[b.Node] = true
	}
	for id, n := range m.nodes {
		if !keep[id] && now.Sub(n.seen) >= m.forgetAfter {
			m.forget(id)
		}
	}
}

func (m *Map) ids() []int32 { return slices.Sorted(maps.Keys(m.nodes)) }

// Failed reports that a dial of b failed. If the last response gave another address
// for the node, it moves there.
func (m *Map) Failed(b Broker, now time.Time) []Change {
	n := m.nodes[b.Node]
	if n == nil || n.current != b || n.next == (Broker{}) {
		return nil
	}
	return m.Confirm(n.next, now)
}

// Confirm reports that b was found at the address in a response. The node moves there,
// and a node that had the address has none.
func (m *Map) Confirm(b Broker, now time.Time) []Change {
	n := m.nodes[b.Node]
	if n == nil || n.current.place() == b.place() {
		return nil
	}
	return append([]Change{n.moveTo(b, now)}, m.dispossess([]Broker{b})...)
}

func (n *node) moveTo(b Broker, now time.Time) Change {
	n.goesBack = n.wouldGoBack(b, now)
	if n.current.Host != "" {
		n.was = n.current
	}
	n.votes, n.against, n.rival = nil, nil, Broker{}
	n.current, n.next, n.moved = b, Broker{}, now
	return Change{Kind: Moved, Broker: b}
}

// ClusterID returns the cluster's id, or "" while no response has said it.
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

// Len returns how many nodes there are.
func (m *Map) Len() int { return len(m.nodes) }

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

// Unmapped returns, by ascending id, the nodes that have an address and no slot of a listener,
// because its range is full.
func (m *Map) Unmapped(listener int) []int32 {
	var all []int32
	for id := range m.listeners[listener].full {
		if n := m.nodes[id]; n != nil && n.current.Host != "" {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// Overflowed returns, by ascending id, the nodes that have a slot of a listener
// which does not follow from the configuration: another proxy with the same one
// may have given them others.
func (m *Map) Overflowed(listener int) []int32 {
	return slices.Sorted(maps.Keys(m.listeners[listener].overflow()))
}
