package endpoints_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"kproxy/internal/endpoints"
)

// at is a node at another node's usual address.
func at(id, address int32) endpoints.Broker {
	b := broker(address)
	b.Node = id
	return b
}

// wantAt checks where nodes are; "" is nowhere.
func wantAt(t *testing.T, m *endpoints.Map, want map[int32]string) {
	t.Helper()
	for id, host := range want {
		if b, known := m.Node(id); !known || b.Host != host {
			t.Errorf("node %d is at %q (known: %t), want %q", id, b.Host, known, host)
		}
	}
}

func TestSwappedAddresses(t *testing.T) {
	swapped := []endpoints.Broker{at(0, 1), at(1, 0)}
	for _, c := range []struct {
		trust endpoints.Trust
		want  map[int32]string
		kinds []endpoints.ChangeKind
	}{
		{endpoints.Heard, map[int32]string{0: "b0", 1: "b1"}, nil},
		{endpoints.Told, map[int32]string{0: "b1", 1: "b0"}, []endpoints.ChangeKind{"moved", "moved"}},
		{endpoints.Asked, map[int32]string{0: "b1", 1: "b0"}, []endpoints.ChangeKind{"moved", "moved"}},
	} {
		m := newMap()
		m.Teach(response(0, brokers(0, 1)...), endpoints.Asked)
		if !m.Differs(response(0, swapped...)) {
			t.Error("a swap is no difference")
		}
		if got := kinds(m.Teach(response(time.Second, swapped...), c.trust)); !slices.Equal(got, c.kinds) {
			t.Errorf("trust %d: changes %v, want %v", c.trust, got, c.kinds)
		}
		wantAt(t, m, c.want)
		if got := m.Differs(response(0, swapped...)); got != (c.trust == endpoints.Heard) {
			t.Errorf("trust %d: the swap differs: %t", c.trust, got)
		}
	}
}

// A client's response moves no node, however often it comes.
func TestWhatIsHeardMovesNothing(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Asked)
	for i := range 5 {
		wantChanges(t, m.Teach(response(time.Duration(i)*time.Minute, at(0, 7), broker(1)), endpoints.Heard))
	}
	wantAt(t, m, map[int32]string{0: "b0"})
	m.Failed(broker(0), start)
	wantAt(t, m, map[int32]string{0: "b7"})
}

// A broker is replaced by one with a new id at the old address.
func TestReplacedBroker(t *testing.T) {
	for _, trust := range []endpoints.Trust{endpoints.Heard, endpoints.Told, endpoints.Asked} {
		m := newMap()
		m.Teach(response(0, brokers(0, 1)...), endpoints.Asked)
		heir := []endpoints.Broker{broker(0), at(2, 1)}
		if !m.Differs(response(0, heir...)) {
			t.Error("a replaced broker is no difference")
		}
		got := kinds(m.Teach(response(time.Second, heir...), trust))
		if !slices.Equal(got, []endpoints.ChangeKind{"added", "gone"}) {
			t.Errorf("trust %d: changes %v", trust, got)
		}
		wantAt(t, m, map[int32]string{0: "b0", 1: "", 2: "b1"})
	}
}

// A response of another kind that names a node at another's address takes no address
// away, and does not identify the cluster.
func TestALeaderHintMovesNothing(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Asked)
	hint := response(time.Second, at(2, 1))
	hint.ClusterID = "another"
	if got := kinds(m.Add(hint)); !slices.Equal(got, []endpoints.ChangeKind{"added"}) {
		t.Errorf("changes %v", got)
	}
	wantAt(t, m, map[int32]string{1: "b1", 2: ""})
	m.Teach(response(time.Minute, broker(0), at(2, 1)), endpoints.Told)
	wantAt(t, m, map[int32]string{1: "", 2: "b1"})
}

// asked is a response to a question that kproxy has put to a broker.
func asked(from string, after time.Duration, brokers ...endpoints.Broker) endpoints.Response {
	a := response(after, brokers...)
	a.From = from
	return a
}

// A broker that has not caught up does not move a node back, neither at once nor
// later; when the brokers agree, the node moves.
func TestABrokerThatLags(t *testing.T) {
	m := newMap()
	moved := []endpoints.Broker{at(0, 7), broker(1)}
	m.Teach(asked("b1", 0, brokers(0, 1)...), endpoints.Asked)
	m.Teach(asked("b0", time.Hour, moved...), endpoints.Asked)
	wantAt(t, m, map[int32]string{0: "b7"})
	for i := range 20 {
		after := time.Hour + time.Duration(i)*10*time.Second
		wantChanges(t, m.Teach(asked("lags", after, brokers(0, 1)...), endpoints.Asked))
		wantChanges(t, m.Teach(asked("b1", after, moved...), endpoints.Asked))
	}
	wantAt(t, m, map[int32]string{0: "b7"})
	for _, from := range []string{"b0", "b1"} {
		m.Teach(asked(from, 2*time.Hour, brokers(0, 1)...), endpoints.Asked)
	}
	wantAt(t, m, map[int32]string{0: "b0"})
}

// The only broker moves its node there and back.
func TestTheOnlyBrokerIsBelieved(t *testing.T) {
	m := newMap()
	for i, b := range []endpoints.Broker{broker(0), at(0, 7), broker(0), at(0, 7)} {
		m.Teach(asked("b0", time.Duration(i)*time.Second, b), endpoints.Asked)
		wantAt(t, m, map[int32]string{0: b.Host})
	}
}

// Two responses that agree move a node there and back within a minute: from then
// on only a dial that fails moves it, for ten minutes.
func TestResponsesThatDifferByClient(t *testing.T) {
	m := newMap()
	tell := func(after time.Duration, b endpoints.Broker) []endpoints.ChangeKind {
		return kinds(append(m.Teach(response(after, b), endpoints.Told), m.Teach(response(after, b), endpoints.Told)...))
	}
	m.Teach(response(0, broker(0)), endpoints.Told)
	if got := tell(time.Minute, at(0, 7)); !slices.Equal(got, []endpoints.ChangeKind{"moved"}) {
		t.Fatalf("there: %v", got)
	}
	if got := tell(time.Minute+30*time.Second, broker(0)); !slices.Equal(got, []endpoints.ChangeKind{"moved", "contradicted"}) {
		t.Fatalf("back: %v", got)
	}
	for i := range 8 {
		if got := tell(time.Duration(2+i)*time.Minute, at(0, int32(7+i%3))); len(got) > 0 {
			t.Fatalf("after %d minutes: %v", 2+i, got)
		}
	}
	wantAt(t, m, map[int32]string{0: "b0"})
	m.Teach(response(10*time.Minute, at(0, 9)), endpoints.Told)
	m.Failed(broker(0), start.Add(10*time.Minute))
	wantAt(t, m, map[int32]string{0: "b9"})
	if got := tell(3*time.Hour, broker(0)); !slices.Equal(got, []endpoints.ChangeKind{"moved"}) {
		t.Errorf("hours later: %v", got)
	}
}

// Two brokers swap and swap back within a minute, repeatedly, and a client's own login
// passes through: the nodes follow the brokers.
func TestASwapAndBack(t *testing.T) {
	m := newMap()
	swapped := []endpoints.Broker{at(0, 1), at(1, 0)}
	m.Teach(response(0, brokers(0, 1)...), endpoints.Told)
	for i, now := range [][]endpoints.Broker{swapped, brokers(0, 1), swapped, brokers(0, 1), swapped} {
		for j := range 2 {
			m.Teach(response(time.Hour+time.Duration(20*i+j)*time.Second, now...), endpoints.Told)
		}
		wantAt(t, m, map[int32]string{0: now[0].Host, 1: now[1].Host})
	}
}

// A broker that has not caught up with a swap does not undo it by one response.
func TestASwapIsNotUndoneByALateResponse(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Told)
	m.Teach(response(time.Hour, at(0, 1), at(1, 0)), endpoints.Told)
	wantChanges(t, m.Teach(response(time.Hour+time.Second, brokers(0, 1)...), endpoints.Told))
	wantAt(t, m, map[int32]string{0: "b1", 1: "b0"})
}

func TestConfirm(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Asked)
	m.Teach(response(0, at(0, 7), broker(1)), endpoints.Heard)
	if got := kinds(m.Confirm(at(0, 1), start)); !slices.Equal(got, []endpoints.ChangeKind{"moved", "gone"}) {
		t.Errorf("changes %v", got)
	}
	wantAt(t, m, map[int32]string{0: "b1", 1: ""})
	wantChanges(t, m.Confirm(at(0, 1), start))
	wantChanges(t, m.Confirm(broker(9), start))
}

// The same response, Heard first and then Told because kproxy could not ask, is
// one response.
func TestOneResponseTwiceIsNotTwo(t *testing.T) {
	m := newMap()
	m.Teach(response(0, broker(0)), endpoints.Told)
	one := response(time.Second, at(0, 7))
	m.Teach(one, endpoints.Heard)
	one.Heard = true
	wantChanges(t, m.Teach(one, endpoints.Told))
	if got := kinds(m.Teach(response(2*time.Second, at(0, 7)), endpoints.Told)); !slices.Equal(got, []endpoints.ChangeKind{"moved"}) {
		t.Errorf("the second response: %v", got)
	}
}

// Names that differ in case or by the root's dot are one address.
func TestOneAddressWrittenOtherwise(t *testing.T) {
	m := newMap()
	m.Teach(response(0, broker(0)), endpoints.Asked)
	if m.Differs(response(0, endpoints.Broker{Node: 0, Host: "B0.", Port: 9092})) {
		t.Error("B0. is not b0")
	}
}

// A response has two nodes at one address: the lower id gets it, and a repetition changes
// nothing.
func TestTwoNodesAtOneAddress(t *testing.T) {
	m := newMap()
	m.Teach(response(0, broker(0), at(1, 0)), endpoints.Asked)
	wantAt(t, m, map[int32]string{0: "b0", 1: ""})
	for _, trust := range []endpoints.Trust{endpoints.Heard, endpoints.Told, endpoints.Asked} {
		if m.Differs(response(0, at(1, 0), broker(0))) {
			t.Error("the same again differs")
		}
		wantChanges(t, m.Teach(response(time.Hour, at(1, 0), broker(0)), trust))
	}
}

// Nodes that were replaced lose their slots to the present ones.
func TestNodesWithoutAnAddressGiveUpTheirSlotsFirst(t *testing.T) {
	m := newMap(endpoints.Layout{Name: "a", Slots: 5})
	m.Teach(response(0, brokers(0, 1, 2)...), endpoints.Asked)
	hosts := []int32{0, 1, 2}
	for i := range 6 { // 3 for 0, 4 for 1, …, 8 for 5
		hosts[i%3] = int32(3 + i)
		var named []endpoints.Broker
		for address, id := range hosts {
			named = append(named, at(id, int32(address)))
		}
		m.Teach(response(time.Duration(1+i)*time.Minute, named...), endpoints.Told)
		for _, id := range hosts {
			if _, ok := m.Slot(0, id); !ok {
				t.Fatalf("after %d brokers were replaced, node %d has no slot", 1+i, id)
			}
		}
		restored := newMap(endpoints.Layout{Name: "a", Slots: 5})
		if err := restored.Restore(m.Encode()); err != nil {
			t.Fatal(err)
		}
		m = restored
	}
	wantAt(t, m, map[int32]string{6: "b0", 7: "b1", 8: "b2"})
}

// The nodes that a broker names are bounded, and their work is not quadratic.
func TestAHundredThousandBrokers(t *testing.T) {
	layouts := []endpoints.Layout{{Name: "a", Slots: 1000}, {Name: "b", Slots: 1000}}
	m := newMap(layouts...)
	began := time.Now()
	for round := range int32(5) {
		var named []endpoints.Broker
		for i := range int32(100_000) {
			id := round*100_000 + i
			named = append(named, endpoints.Broker{Node: id, Host: fmt.Sprint("b", id), Port: 9092})
		}
		m.Teach(response(time.Duration(round)*time.Minute, named...), endpoints.Told)
		if n := len(m.Nodes()); n > endpoints.MaxNodes {
			t.Fatalf("%d nodes", n)
		}
	}
	if took := time.Since(began); took > 20*time.Second { // seconds with -race; minutes when it was quadratic
		t.Errorf("it took %v", took)
	}
}

// Where each id has a slot, nodes that came and went fill the map; those that were not seen for long make room.
func TestAFullMapForgets(t *testing.T) {
	m := newMap(endpoints.Layout{Name: "sni", Slots: math.MaxInt32})
	var old []endpoints.Broker
	for id := range int32(endpoints.MaxNodes) {
		old = append(old, broker(id))
	}
	m.Teach(response(0, old...), endpoints.Asked)
	next := broker(endpoints.MaxNodes)
	m.Teach(response(time.Hour, old[0], next), endpoints.Asked)
	if _, known := m.Node(next.Node); known {
		t.Error("a node that was seen an hour ago made room")
	}
	m.Teach(response(forgetAfter+2*time.Hour, old[0], next), endpoints.Asked)
	for _, b := range []endpoints.Broker{old[0], next} {
		if slot, ok := m.Slot(0, b.Node); !ok || slot != int(b.Node) {
			t.Errorf("node %d has slot %d (%t)", b.Node, slot, ok)
		}
	}
	if n := len(m.Nodes()); n != 2 {
		t.Errorf("%d nodes are known, want those that are named", n)
	}
}

// Ids that pass through a full range take slots of nodes without an address. When those nodes come back, they get
// the slots that the configuration gives them, as in a replica that has not seen the others.
func TestASlotComesBack(t *testing.T) {
	for _, slots := range []int{3, 4, 100} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) { slotComesBack(t, slots) })
	}
}

func slotComesBack(t *testing.T, slots int) {
	t.Helper()
	m := newMap(endpoints.Layout{Name: "a", Slots: slots})
	minute := time.Duration(0)
	teach := func(named ...endpoints.Broker) {
		for range 2 { // a node has lost its address by the second one
			minute += time.Minute
			m.Teach(response(minute, named...), endpoints.Asked)
		}
	}
	teach(broker(0), broker(1), broker(2))
	teach(at(11, 0), broker(1), broker(2))
	teach(at(11, 0), at(10, 1), broker(2))
	for passing := range int32(2 * slots) { // until they have the slots of the others
		teach(at(1000+passing, 0), at(5000+passing, 1), broker(2))
	}
	teach(broker(0), broker(1), broker(2))
	for id := range int32(3) {
		if slot, ok := m.Slot(0, id); !ok || slot != int(id) {
			t.Errorf("node %d has slot %d (%t)", id, slot, ok)
		}
	}
}
