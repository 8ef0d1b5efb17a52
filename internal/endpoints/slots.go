package endpoints

import "maps"

// Layout is how a listener gives slots to nodes.
type Layout struct {
	Slots     int           // how many there are: slot 0 to Slots-1
	FirstNode int32         // the node of slot 0
	Pinned    map[int32]int // node -> its slot, whatever the formula says
}

// slots is who has which slot of one listener.
type slots struct {
	layout Layout
	pinned map[int]bool // slots that wait for the node they are pinned for
	ofNode map[int32]int
	ofSlot map[int]int32
}

func newSlots(l Layout) *slots {
	s := &slots{layout: l, pinned: map[int]bool{}, ofNode: map[int32]int{}, ofSlot: map[int]int32{}}
	for slot := range maps.Values(l.Pinned) {
		s.pinned[slot] = true
	}
	return s
}

// assign gives a node that is new to the map its slot, for good.
func (s *slots) assign(listener int, b Broker) []Change {
	if slot, ok := s.own(b.Node); ok {
		s.give(b.Node, slot)
		return nil
	}
	for slot := s.layout.Slots - 1; slot >= 0; slot-- {
		if s.free(slot) {
			s.give(b.Node, slot)
			return []Change{{Kind: Overflowed, Broker: b, Listener: listener, Slot: slot}}
		}
	}
	return []Change{{Kind: Unmapped, Broker: b, Listener: listener}}
}

// own returns the slot that the configuration gives to a node, if nobody has
// taken it.
func (s *slots) own(id int32) (slot int, ok bool) {
	if slot, ok := s.layout.Pinned[id]; ok {
		return slot, true
	}
	slot = int(id) - int(s.layout.FirstNode)
	return slot, slot >= 0 && slot < s.layout.Slots && s.free(slot)
}

func (s *slots) free(slot int) bool {
	_, taken := s.ofSlot[slot]
	return !taken && !s.pinned[slot]
}

func (s *slots) give(id int32, slot int) {
	s.ofNode[id] = slot
	s.ofSlot[slot] = id
}
