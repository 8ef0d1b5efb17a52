package endpoints

import (
	"maps"
	"slices"
)

// Layout configures a listener's slots.
type Layout struct {
	Name      string        // of the listener; slots are remembered under it
	Slots     int           // the number of slots: 0 to Slots-1
	FirstNode int32         // the node of slot 0
	Pinned    map[int32]int // node -> its slot, in place of the formula's
}

// slots has the nodes of one listener's slots.
type slots struct {
	layout Layout
	pinned map[int]bool // slots that are kept for the node they are pinned for
	ofNode map[int32]int
	ofSlot map[int]int32
	full   map[int32]bool // nodes that found no slot
}

func newSlots(l Layout) *slots {
	s := &slots{
		layout: l,
		pinned: map[int]bool{},
		ofNode: map[int32]int{},
		ofSlot: map[int]int32{},
		full:   map[int32]bool{},
	}
	for slot := range maps.Values(l.Pinned) {
		s.pinned[slot] = true
	}
	return s
}

// own returns the slot that the configuration gives to a node, if no other node has
// it.
func (s *slots) own(id int32) (slot int, ok bool) {
	if slot, ok := s.layout.Pinned[id]; ok {
		return slot, true
	}
	slot = int(id) - int(s.layout.FirstNode)
	return slot, s.free(slot)
}

// giveOwn gives a node that has no slot the one that the configuration gives it.
func (s *slots) giveOwn(id int32) {
	if _, placed := s.ofNode[id]; placed {
		return
	}
	if slot, ok := s.own(id); ok {
		s.give(id, slot)
	}
}

// allFree returns the free slots, ascending: the last MaxNodes of them, which are more than
// there are nodes. A listener with server names has two billion.
func (s *slots) allFree() []int {
	var free []int
	for slot := s.layout.Slots - 1; slot >= 0 && len(free) < MaxNodes; slot-- {
		if s.free(slot) {
			free = append(free, slot)
		}
	}
	slices.Reverse(free)
	return free
}

func (s *slots) free(slot int) bool {
	_, taken := s.ofSlot[slot]
	return slot >= 0 && slot < s.layout.Slots && !taken && !s.pinned[slot]
}

func (s *slots) give(id int32, slot int) {
	s.ofNode[id] = slot
	s.ofSlot[slot] = id
	delete(s.full, id)
}

// take takes a node's slot away.
func (s *slots) take(id int32) (slot int) {
	slot = s.ofNode[id]
	delete(s.ofNode, id)
	delete(s.ofSlot, slot)
	return slot
}

// overflow returns the nodes that have another slot than the configuration gives
// them, with that slot.
func (s *slots) overflow() map[int32]int {
	overflow := map[int32]int{}
	for id, slot := range s.ofNode {
		if !s.configured(id, slot) {
			overflow[id] = slot
		}
	}
	return overflow
}

// configured reports whether the configuration itself gives this slot to the
// node.
func (s *slots) configured(id int32, slot int) bool {
	if pinned, ok := s.layout.Pinned[id]; ok {
		return pinned == slot
	}
	return int(id)-int(s.layout.FirstNode) == slot
}
