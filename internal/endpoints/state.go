package endpoints

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"time"
)

// stateVersion is the version of the state's form. A file of another version is
// not read.
const stateVersion = 1

// state is the saved form of a Map, in JSON, for one cluster. Slots that follow from the
// configuration are not in it.
type state struct {
	Version   int                      `json:"version"`
	ClusterID string                   `json:"cluster_id"`
	Nodes     []rememberedNode         `json:"nodes"`
	Overflow  map[string]map[int32]int `json:"overflow,omitempty"` // listener -> node -> slot
}

type rememberedNode struct {
	Node int32     `json:"node"`
	Host string    `json:"host"`
	Port int32     `json:"port"`
	Seen time.Time `json:"seen"`
}

// Encode returns the state to be remembered across restarts. It is the same for
// the same Map, byte for byte.
func (m *Map) Encode() []byte {
	s := state{Version: stateVersion, ClusterID: m.clusterID, Overflow: map[string]map[int32]int{}}
	for _, id := range m.ids() {
		n := m.nodes[id]
		s.Nodes = append(s.Nodes, rememberedNode{id, n.current.Host, n.current.Port, n.seen.UTC().Truncate(time.Second)})
	}
	for _, l := range m.listeners {
		if overflow := l.overflow(); len(overflow) > 0 {
			s.Overflow[l.layout.Name] = overflow
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("endpoints: state: " + err.Error()) // numbers, strings and times always encode
	}
	return append(b, '\n')
}

// Restore fills an empty Map with the output of Encode, as far as the
// configuration still allows it: a slot that now lies outside its listener's
// range, or is kept for another node, is given anew. An error means that the
// state is broken, and leaves the Map empty.
func (m *Map) Restore(b []byte) error {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("not a state file: %w", err)
	}
	if err := s.check(); err != nil {
		return err
	}
	m.clusterID = s.ClusterID
	for _, r := range s.Nodes {
		m.nodes[r.Node] = &node{current: Broker{Node: r.Node, Host: r.Host, Port: r.Port}, seen: r.Seen}
	}
	for _, l := range m.listeners {
		l.restore(m.ids(), s.Overflow[l.layout.Name])
	}
	return nil
}

// Relayout replaces the listeners. The nodes stay, and keep their slots of a listener of the
// same name, as far as its new layout allows it. A node that a wider range or a pin now has a
// slot for gets that one, as it does in every replica.
func (m *Map) Relayout(layouts []Layout, forgetAfter time.Duration) {
	before := map[string]*slots{}
	for _, l := range m.listeners {
		before[l.layout.Name] = l
	}
	m.forgetAfter, m.listeners = forgetAfter, nil
	for _, layout := range layouts {
		was := before[layout.Name]
		if was != nil && reflect.DeepEqual(was.layout, layout) {
			m.listeners = append(m.listeners, was)
			continue
		}
		s := newSlots(layout)
		var overflow map[int32]int
		if was != nil {
			overflow = was.overflow()
			maps.DeleteFunc(overflow, func(id int32, _ int) bool { return was.isOutside(id) && !s.isOutside(id) })
		}
		s.restore(m.ids(), overflow)
		m.listeners = append(m.listeners, s)
	}
}

// restore gives the nodes their slots: first those that are remembered, so
// that no node's endpoint becomes another's, then those that the configuration
// gives, then whatever is free.
func (s *slots) restore(ids []int32, overflow map[int32]int) {
	for _, id := range ids {
		if slot, ok := overflow[id]; ok && s.free(slot) {
			s.give(id, slot)
		}
	}
	for _, id := range ids {
		s.giveOwn(id)
	}
	free := s.allFree()
	for _, id := range ids {
		if _, placed := s.ofNode[id]; placed {
			continue
		}
		if slot, ok := pop(&free); ok { // from the top of the range
			s.give(id, slot)
		}
	}
}

// isOutside reports whether the configuration has no slot for a node.
func (s *slots) isOutside(id int32) bool {
	if _, pinned := s.layout.Pinned[id]; pinned {
		return false
	}
	slot := int(id) - int(s.layout.FirstNode)
	return slot < 0 || slot >= s.layout.Slots || s.pinned[slot]
}

// check refuses a state that Encode cannot have written.
func (s *state) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("state of version %d, not %d", s.Version, stateVersion)
	}
	if len(s.Nodes) > MaxNodes {
		return fmt.Errorf("%d nodes, more than %d", len(s.Nodes), MaxNodes)
	}
	seen := map[int32]bool{}
	for _, r := range s.Nodes {
		if r.Node < 0 || seen[r.Node] {
			return fmt.Errorf("node %d is there twice, or is none", r.Node)
		}
		if r.Port < 0 || r.Port > 1<<16-1 || (r.Host == "") != (r.Port == 0) {
			return fmt.Errorf("node %d has no valid address: %q port %d", r.Node, r.Host, r.Port)
		}
		seen[r.Node] = true
	}
	return nil
}
