package endpoints_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kproxy/internal/endpoints"
)

// start is when the tests' first response comes.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const forgetAfter = 720 * time.Hour

// layout is nodes 0 to 3 at slots 0 to 3.
var layout = endpoints.Layout{Name: "fred", Slots: 4}

func newMap(layouts ...endpoints.Layout) *endpoints.Map {
	if len(layouts) == 0 {
		layouts = []endpoints.Layout{layout}
	}
	return endpoints.New(layouts, forgetAfter)
}

// broker is a node at the address that it has in most tests.
func broker(id int32) endpoints.Broker {
	return endpoints.Broker{Node: id, Host: fmt.Sprintf("b%d", id), Port: 9092}
}

// response returns a response that names brokers, at a time after start.
func response(after time.Duration, brokers ...endpoints.Broker) endpoints.Response {
	return endpoints.Response{ClusterID: "c", Brokers: brokers, At: start.Add(after)}
}

func brokers(ids ...int32) []endpoints.Broker {
	var all []endpoints.Broker
	for _, id := range ids {
		all = append(all, broker(id))
	}
	return all
}

// kinds returns the kinds of changes, in order.
func kinds(changes []endpoints.Change) []endpoints.ChangeKind {
	var all []endpoints.ChangeKind
	for _, c := range changes {
		all = append(all, c.Kind)
	}
	return all
}

// slots checks which slots nodes have at the first listener; -1 is none.
func slots(t *testing.T, m *endpoints.Map, want map[int32]int) {
	t.Helper()
	for id, wantSlot := range want {
		slot, ok := m.Slot(0, id)
		if !ok {
			slot = -1
		}
		if slot != wantSlot {
			t.Errorf("node %d has slot %d, want %d", id, slot, wantSlot)
		}
		if at, known := m.NodeAt(0, slot); ok && (!known || at.Node != id) {
			t.Errorf("slot %d is node %d's, want %d's", slot, at.Node, id)
		}
	}
}

func TestANodeHasTheSlotOfTheFormula(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 4, FirstNode: 100})
	m.Teach(response(0, brokers(101, 103)...), endpoints.Told)
	slots(t, m, map[int32]int{101: 1, 103: 3})
}

func TestAPinnedNodeHasItsSlotAndNobodyElseHas(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 4, Pinned: map[int32]int{1001: 2}})
	m.Teach(response(0, brokers(0, 1, 2, 3)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1: 1, 2: -1, 3: 3}) // 2's own is kept for 1001, and nothing is free
	m.Teach(response(0, brokers(1001)...), endpoints.Told)
	slots(t, m, map[int32]int{1001: 2})
}

func TestIdsOutsideTheRangeTakeFreeSlotsInAscendingOrder(t *testing.T) {
	m := newMap()
	changes := m.Teach(response(0, broker(1002), broker(0), broker(1001)), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1001: 3, 1002: 2})
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"added", "added", "overflowed", "added", "overflowed"}) {
		t.Errorf("changes %v", got)
	}
	m.Teach(response(0, brokers(1, 3)...), endpoints.Told)
	slots(t, m, map[int32]int{1: 1, 3: -1, 1001: 3}) // 3's own is taken for good
}

func TestAFullRangeLeavesANodeOut(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1, 2, 3)...), endpoints.Told)
	changes := m.Teach(response(0, brokers(0, 1, 2, 3, 4)...), endpoints.Told)
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"added", "unmapped"}) {
		t.Errorf("changes %v", got)
	}
	slots(t, m, map[int32]int{4: -1})
	if again := m.Teach(response(0, brokers(0, 1, 2, 3, 4)...), endpoints.Told); len(again) != 0 {
		t.Errorf("said again: %v", kinds(again))
	}
}

func TestASlotIsReusedOnlyWhenTheRangeIsFullAndTheLongestUnseenGoes(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1, 2, 3)...), endpoints.Told)
	m.Teach(response(time.Hour, brokers(0, 2, 3)...), endpoints.Told) // 1 is seen no more
	m.Teach(response(2*time.Hour, brokers(0, 3)...), endpoints.Told)  // nor 2
	m.Teach(response(forgetAfter-time.Minute, brokers(0, 3, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{1: 1, 2: 2, 1001: -1}) // not within forget_after
	changes := m.Teach(response(forgetAfter+3*time.Hour, brokers(0, 3, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1: -1, 2: 2, 3: 3, 1001: 1})
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"evicted", "overflowed"}) {
		t.Errorf("changes %v", got)
	}
	if _, known := m.Node(1); known {
		t.Error("a node that lost its slot is still known")
	}
}

func TestASlotIsNotReusedWhileOthersAreFree(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0)...), endpoints.Told)
	m.Teach(response(10*forgetAfter, brokers(1001)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1001: 3})
}

func TestMetadataTeachesOthersOnlyAdd(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "elsewhere", Port: 1}
	m := newMap()
	m.Add(response(0, brokers(1)...))
	for range 3 {
		m.Add(response(0, moved))
	}
	if got, _ := m.Node(1); got != broker(1) {
		t.Errorf("another response than Metadata moved it to %v", got)
	}
}

func TestAnAddressChangesWhenTwoAnswersAgree(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "elsewhere", Port: 1}
	m := newMap()
	for i, want := range []endpoints.Broker{broker(1), broker(1), broker(1), broker(1), moved} {
		said := []endpoints.Broker{broker(1), moved, broker(1), moved, moved}[i]
		m.Teach(response(0, said), endpoints.Told)
		if got, _ := m.Node(1); got != want {
			t.Errorf("after response %d: %v, want %v", i, got, want)
		}
	}
	slots(t, m, map[int32]int{1: 1})
}

func TestAnAddressChangesWhenTheOldOneFailsToDial(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "elsewhere", Port: 1}
	m := newMap()
	m.Teach(response(0, broker(1)), endpoints.Told)
	if changes := m.Failed(broker(1), start); len(changes) != 0 {
		t.Errorf("it moved to nowhere: %v", changes)
	}
	m.Teach(response(0, moved), endpoints.Told)
	if changes := m.Failed(moved, start); len(changes) != 0 {
		t.Errorf("a dial that was not of the current address moved it: %v", changes)
	}
	m.Failed(broker(1), start)
	if got, _ := m.Node(1); got != moved {
		t.Errorf("got %v, want %v", got, moved)
	}
}

func TestAnEmptyBrokerListRemovesNothing(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Told)
	m.Teach(response(0), endpoints.Told)
	if got := m.Nodes(); len(got) != 2 {
		t.Errorf("left %v", got)
	}
}

// A removed broker and a new one at its address must not share endpoints.
func TestAnEndpointNeverReachesAnotherBroker(t *testing.T) {
	heir := endpoints.Broker{Node: 4, Host: "b1", Port: 9092}
	m := newMap(endpoints.Layout{Slots: 8})
	m.Teach(response(0, brokers(0, 1)...), endpoints.Told)
	changes := m.Teach(response(0, broker(0), heir), endpoints.Told)
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"added", "gone"}) {
		t.Errorf("changes %v", got)
	}
	if b, known := m.NodeAt(0, 1); !known || b.Host != "" {
		t.Errorf("slot 1 leads to %v, known %v", b, known)
	}
	m.Teach(response(0, broker(0), heir, endpoints.Broker{Node: 1, Host: "new", Port: 9092}), endpoints.Told)
	if b, _ := m.NodeAt(0, 1); b.Host != "new" {
		t.Errorf("when it is back, slot 1 leads to %v", b)
	}
}

func TestABrokerThatComesBackHasItsSlot(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1001)...), endpoints.Told)
	m.Teach(response(0, brokers(0)...), endpoints.Told)
	m.Teach(response(0, brokers(0, 1002)...), endpoints.Told)
	m.Teach(response(0, brokers(0, 1001, 1002)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1001: 3, 1002: 2})
}

func TestAnotherClusterIsForgotten(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1001)...), endpoints.Told)
	changes := m.Teach(endpoints.Response{ClusterID: "other", Brokers: brokers(7), At: start}, endpoints.Told)
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"replaced", "added", "overflowed"}) {
		t.Errorf("changes %v", got)
	}
	if got := m.Nodes(); !slices.Equal(got, brokers(7)) {
		t.Errorf("left %v", got)
	}
	slots(t, m, map[int32]int{0: -1, 1001: -1, 7: 3})
	if changes := m.Add(endpoints.Response{Brokers: brokers(7), At: start}); len(changes) != 0 {
		t.Errorf("a response without a cluster id changed %v", changes)
	}
}

func TestNegativeIdsNameNobody(t *testing.T) {
	m := newMap()
	if changes := m.Teach(response(0, broker(-1)), endpoints.Told); len(changes) != 0 || len(m.Nodes()) != 0 {
		t.Errorf("changes %v, nodes %v", changes, m.Nodes())
	}
}

// For any responses, no two nodes share a slot, a slot stays while its node does, and
// proxies that get the same responses agree.
func TestRandomAnswers(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 1))
		layouts := []endpoints.Layout{
			{Name: "a", Slots: 1 + r.IntN(8), FirstNode: int32(r.IntN(3))},
			{Name: "b", Slots: 6, Pinned: map[int32]int{5: r.IntN(6)}},
		}
		one, other := newMap(layouts...), newMap(layouts...)
		had := map[[2]int32]int{}
		for step := range 60 {
			a := response(time.Duration(step)*forgetAfter/10, randomBrokers(r)...)
			for _, m := range []*endpoints.Map{one, other} {
				if r := step % 3; r == 0 {
					m.Add(a)
				} else {
					m.Teach(a, endpoints.Told)
				}
			}
			if got, want := string(other.Encode()), string(one.Encode()); got != want {
				t.Fatalf("seed %d step %d: two proxies disagree:\n%s\n%s", seed, step, got, want)
			}
			checkSlots(t, one, layouts, had)
			if step%7 == 0 {
				restored := newMap(layouts...)
				if err := restored.Restore(one.Encode()); err != nil {
					t.Fatal(err)
				}
				checkSlots(t, restored, layouts, had)
			}
		}
	}
}

func randomBrokers(r *rand.Rand) []endpoints.Broker {
	var all []endpoints.Broker
	for range r.IntN(6) {
		b := broker(int32(r.IntN(12)))
		if r.IntN(4) == 0 {
			b.Host = fmt.Sprintf("b%d", r.IntN(12))
		}
		if !slices.ContainsFunc(all, func(o endpoints.Broker) bool { return o.Node == b.Node }) {
			all = append(all, b)
		}
	}
	return all
}

// checkSlots checks the invariants; had are the nodes' slots before.
func checkSlots(t *testing.T, m *endpoints.Map, layouts []endpoints.Layout, had map[[2]int32]int) {
	t.Helper()
	for l, layout := range layouts {
		owners := map[int]int32{}
		for _, b := range m.Nodes() {
			slot, ok := m.Slot(l, b.Node)
			key := [2]int32{int32(l), b.Node}
			if !ok {
				delete(had, key)
				continue
			}
			if by, taken := owners[slot]; taken || slot < 0 || slot >= layout.Slots {
				t.Fatalf("listener %d: node %d has slot %d of %d, as has node %d", l, b.Node, slot, layout.Slots, by)
			}
			owners[slot] = b.Node
			if before, ok := had[key]; ok && before != slot {
				t.Fatalf("listener %d: node %d went from slot %d to %d", l, b.Node, before, slot)
			}
			had[key] = slot
		}
		for key := range had {
			if _, known := m.Node(key[1]); !known {
				delete(had, key)
			}
		}
	}
}

// Slot 0 may be given to an id outside the range, like any other.
func TestTheLastFreeSlotMayBeTheFirstOfTheRange(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(1, 2, 3)...), endpoints.Told)
	changes := m.Teach(response(0, brokers(1, 2, 3, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{1: 1, 2: 2, 3: 3, 1001: 0})
	if got := kinds(changes); !slices.Equal(got, []endpoints.ChangeKind{"added", "overflowed"}) {
		t.Errorf("changes %v", got)
	}
	slots(t, m, map[int32]int{0: -1})
}
