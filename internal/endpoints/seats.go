package endpoints

import (
	"cmp"
	"slices"
	"time"
)

// vacancy has the slots that one listener can give to nodes without one, during one
// response. It is computed once: a search for each node would be quadratic in the size of
// a response.
type vacancy struct {
	looked bool     // free was looked for
	free   []int    // slots, the next one last
	full   bool     // old was looked for
	old    []Broker // nodes that may lose their slots, the next one last
}

// seat gives a node without a slot of a listener a free one, or that of a node which may
// lose it.
func (m *Map) seat(b Broker, listener int, v *vacancy, now time.Time) []Change {
	s := m.listeners[listener]
	if _, ok := s.ofNode[b.Node]; ok {
		return nil
	}
	if !v.looked {
		v.looked, v.free = true, s.allFree()
	}
	if slot, ok := pop(&v.free); ok {
		s.give(b.Node, slot)
		return []Change{{Kind: Overflowed, Broker: b, Listener: listener, Slot: slot}}
	}
	if !v.full {
		v.full, v.old = true, m.evictable(s, now)
	}
	if old, ok := pop(&v.old); ok {
		slot := s.take(old.Node)
		s.give(b.Node, slot)
		return []Change{
			{Kind: Evicted, Broker: old, Listener: listener, Slot: slot},
			{Kind: Overflowed, Broker: b, Listener: listener, Slot: slot},
		}
	}
	if s.full[b.Node] {
		return nil // reported before
	}
	s.full[b.Node] = true
	return []Change{{Kind: Unmapped, Broker: b, Listener: listener}}
}

// reclaim frees the slot that the configuration gives to a node without one, if a node that is outside the range
// holds it and has no address, or loses it now. Else the node would get another one, and keep it for ever.
func (m *Map) reclaim(id int32, listener int, now time.Time, takes map[place]int32) []Change {
	s := m.listeners[listener]
	slot, isOwn := s.own(id)
	if _, placed := s.ofNode[id]; placed || isOwn {
		return nil
	}
	holder, held := s.ofSlot[slot]
	if !held || s.configured(holder, slot) || s.pinned[slot] || m.isFixed(holder) {
		return nil
	}
	n := m.nodes[holder]
	by, isTaken := takes[n.current.place()]
	if isLost := n.current.Host == "" || isTaken && by != holder; !isLost || !n.seen.Before(now) {
		return nil
	}
	s.take(holder)
	return []Change{{Kind: Evicted, Broker: n.current, Listener: listener, Slot: slot}}
}

// pop takes the last element.
func pop[T any](all *[]T) (last T, ok bool) {
	if n := len(*all); n > 0 {
		last, *all = (*all)[n-1], (*all)[:n-1]
		return last, true
	}
	return last, false
}

// evictable returns the nodes of a listener that may lose their slots, the first
// one to lose it last: those without an address, and then those that have been
// unseen longest, if that is longer than forgetAfter. Of several the lowest id
// goes first. Pinned nodes stay, and so do those that the response of now names.
func (m *Map) evictable(s *slots, now time.Time) []Broker {
	var old []*node
	for id := range s.ofNode {
		n := m.nodes[id]
		_, isPinned := s.layout.Pinned[id]
		isLost := n.current.Host == "" && n.seen.Before(now)
		if !isPinned && (isLost || now.Sub(n.seen) >= m.forgetAfter) {
			old = append(old, n)
		}
	}
	slices.SortFunc(old, func(a, b *node) int {
		if lost := a.current.Host == ""; lost != (b.current.Host == "") {
			if lost {
				return 1
			}
			return -1
		}
		return cmp.Or(b.seen.Compare(a.seen), cmp.Compare(b.current.Node, a.current.Node))
	})
	brokers := make([]Broker, len(old))
	for i, n := range old {
		brokers[i] = n.current
	}
	return brokers
}
