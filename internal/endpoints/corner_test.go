package endpoints_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kproxy/internal/endpoints"
)

// change is one change of a broker at the address of most tests.
func change(kind endpoints.ChangeKind, id int32, listener, slot int) endpoints.Change {
	return endpoints.Change{Kind: kind, Broker: broker(id), Listener: listener, Slot: slot}
}

func wantChanges(t *testing.T, got []endpoints.Change, want ...endpoints.Change) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("changes: got %+v, want %+v", got, want)
	}
}

func TestTheLastIdsThereAre(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 4, FirstNode: math.MaxInt32 - 1})
	m.Teach(response(0, brokers(math.MaxInt32, math.MaxInt32-1, 0)...), endpoints.Told)
	slots(t, m, map[int32]int{math.MaxInt32 - 1: 0, math.MaxInt32: 1, 0: 3})
}

// A pinned slot waits for its node, however full the range is.
func TestAPinnedSlotIsNotTakenByAForeignId(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 2, Pinned: map[int32]int{7: 1}})
	m.Teach(response(0, brokers(0)...), endpoints.Told)
	wantChanges(t, m.Teach(response(0, brokers(0, 1001)...), endpoints.Told),
		change("added", 1001, 0, 0), change("unmapped", 1001, 0, 0))
	m.Teach(response(0, brokers(0, 7)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 7: 1, 1001: -1})
}

func TestANodePinnedElsewhereLeavesItsOwnSlotToOthers(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 2, Pinned: map[int32]int{1: 0}})
	m.Teach(response(0, brokers(1, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{1: 0, 1001: 1})
}

// Replicas may differ about a node whose own slot was given away, and about the node that
// has it. Both are reported.
func TestANodeWhoseOwnSlotIsTaken(t *testing.T) {
	m := newMap()
	m.Add(response(0, brokers(1001)...))
	wantChanges(t, m.Add(response(0, brokers(3)...)),
		change("added", 3, 0, 0), change("overflowed", 3, 0, 2))
	slots(t, m, map[int32]int{1001: 3, 3: 2})
}

func TestEachListenerHasARangeOfItsOwn(t *testing.T) {
	m := newMap(endpoints.Layout{Slots: 10}, endpoints.Layout{Slots: 1, FirstNode: 5}, endpoints.Layout{})
	wantChanges(t, m.Add(response(0, brokers(5, 6)...)),
		change("added", 5, 0, 0), change("unmapped", 5, 2, 0),
		change("added", 6, 0, 0), change("unmapped", 6, 1, 0), change("unmapped", 6, 2, 0))
	for listener, want := range [][2]int{{5, 6}, {0, -1}, {-1, -1}} {
		for i, id := range []int32{5, 6} {
			slot, ok := m.Slot(listener, id)
			if !ok {
				slot = -1
			}
			if slot != want[i] {
				t.Errorf("listener %d: node %d has slot %d, want %d", listener, id, slot, want[i])
			}
		}
	}
	if b, known := m.NodeAt(1, 0); !known || b.Node != 5 {
		t.Errorf("slot 0 of the second listener is %+v's (%t), want node 5's", b, known)
	}
	if b, known := m.NodeAt(2, 0); known {
		t.Errorf("a listener without slots has %+v", b)
	}
}

// Two Metadata responses agree if they name the node at the same address and no response
// between them names another.
func TestWhatCountsAsTwoAnswersThatAgree(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "b1", Port: 19092} // the port counts
	tests := []struct {
		name  string
		after func(m *endpoints.Map)
		moves bool
	}{
		{"the same again", func(m *endpoints.Map) { m.Teach(response(0, moved), endpoints.Told) }, true},
		{"one that does not name it, then the same", func(m *endpoints.Map) {
			m.Teach(response(0, brokers(0)...), endpoints.Told)
			m.Teach(response(0, moved), endpoints.Told)
		}, true},
		{"another response than Metadata", func(m *endpoints.Map) { m.Add(response(0, moved)) }, false},
		{"the old address, then the new one", func(m *endpoints.Map) {
			m.Teach(response(0, broker(1)), endpoints.Told)
			m.Teach(response(0, moved), endpoints.Told)
		}, false},
		{"a third address", func(m *endpoints.Map) {
			m.Teach(response(0, endpoints.Broker{Node: 1, Host: "third", Port: 9092}), endpoints.Told)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMap()
			m.Teach(response(0, broker(1)), endpoints.Told)
			m.Teach(response(0, moved), endpoints.Told)
			tt.after(m)
			if b, _ := m.Node(1); (b == moved) != tt.moves {
				t.Errorf("node 1 is at %+v; moves should be %t", b, tt.moves)
			}
		})
	}
}

// A response that names a node twice is one response.
func TestANodeThatIsNamedTwice(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "elsewhere", Port: 1}
	m := newMap()
	wantChanges(t, m.Teach(response(0, brokers(1, 1)...), endpoints.Told), change("added", 1, 0, 0))
	wantChanges(t, m.Teach(response(0, moved, moved), endpoints.Told))
	if b, _ := m.Node(1); b != broker(1) {
		t.Errorf("node 1 is at %+v", b)
	}
}

// The result of a dial to a previous address of the node does not count.
func TestALateFailure(t *testing.T) {
	moved := endpoints.Broker{Node: 1, Host: "elsewhere", Port: 1}
	m := newMap()
	m.Teach(response(0, broker(1)), endpoints.Told)
	m.Teach(response(0, moved), endpoints.Told)
	m.Failed(broker(1), start)
	m.Teach(response(0, broker(1)), endpoints.Told) // it may be back, says one response
	wantChanges(t, m.Failed(broker(1), start))
	if b, _ := m.Node(1); b != moved {
		t.Errorf("node 1 is at %+v, want %+v", b, moved)
	}
	wantChanges(t, m.Failed(broker(7), start))
	wantChanges(t, m.Failed(broker(-1), start))
}

// The order of brokers in a response makes no difference, so that proxies agree that get
// the same brokers in different orders.
func TestTheOrderWithinAnAnswerDoesNotMatter(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		layouts := []endpoints.Layout{{Name: "a", Slots: 1 + r.IntN(8)}, {Name: "b", Slots: 6, Pinned: map[int32]int{5: r.IntN(6)}}}
		one, other := newMap(layouts...), newMap(layouts...)
		for step := range 40 {
			named := randomBrokers(r)
			shuffled := slices.Clone(named)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			after := time.Duration(step) * forgetAfter / 10
			switch step % 4 {
			case 0:
				one.Add(response(after, named...))
				other.Add(response(after, shuffled...))
			case 1:
				for i := range named {
					one.Failed(named[i], start)
					other.Failed(shuffled[i], start)
				}
			default:
				one.Teach(response(after, named...), endpoints.Told)
				other.Teach(response(after, shuffled...), endpoints.Told)
			}
			if got, want := string(other.Encode()), string(one.Encode()); got != want {
				t.Fatalf("seed %d step %d: the maps disagree:\n%s\n%s", seed, step, got, want)
			}
		}
	}
}
