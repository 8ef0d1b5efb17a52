package endpoints_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/internal/endpoints"
)

func restore(t *testing.T, state []byte, layouts ...endpoints.Layout) *endpoints.Map {
	t.Helper()
	m := newMap(layouts...)
	if err := m.Restore(state); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMapIsRemembered(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1, 1001)...), endpoints.Told)
	state := m.Encode()
	after := restore(t, state)
	slots(t, after, map[int32]int{0: 0, 1: 1, 1001: 3})
	if got, want := string(after.Encode()), string(state); got != want {
		t.Errorf("remembered:\n%s\nwant:\n%s", got, want)
	}
	if after.ClusterID() != "c" {
		t.Errorf("cluster id %q", after.ClusterID())
	}
}

// If another node had taken a node's own slot, neither slot changes.
func TestNobodysEndpointBecomesAnothersOverARestart(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(1001)...), endpoints.Told) // takes slot 3
	m.Teach(response(0, brokers(1001, 3)...), endpoints.Told)
	slots(t, m, map[int32]int{1001: 3, 3: 2})
	slots(t, restore(t, m.Encode()), map[int32]int{1001: 3, 3: 2})
}

// The nodes with slots that replicas may not agree on are known, also after a restart.
func TestWhoHasOverflowed(t *testing.T) {
	layouts := []endpoints.Layout{
		{Name: "fred", Slots: 6, Pinned: map[int32]int{1001: 3}},
		{Name: "bob", Slots: 3000},
	}
	m := newMap(layouts...)
	if got := m.Overflowed(0); len(got) > 0 {
		t.Errorf("of an empty map %v have overflowed", got)
	}
	// 3 finds its slot kept for 1001, which has one of its own at both.
	m.Teach(response(0, brokers(2002, 0, 3, 1001)...), endpoints.Told)
	for _, m := range []*endpoints.Map{m, restore(t, m.Encode(), layouts...)} {
		if got, want := m.Overflowed(0), []int32{3, 2002}; !slices.Equal(got, want) {
			t.Errorf("at fred %v have overflowed, want %v", got, want)
		}
		if got := m.Overflowed(1); len(got) > 0 {
			t.Errorf("at bob %v have overflowed, want none", got)
		}
	}
}

func TestAnotherClusterDiscardsWhatWasRemembered(t *testing.T) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1)...), endpoints.Told)
	after := restore(t, m.Encode())
	after.Teach(endpoints.Response{ClusterID: "other", Brokers: brokers(2), At: start}, endpoints.Told)
	if got := after.Nodes(); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

// The configuration overrides remembered slots.
func TestARangeThatShrank(t *testing.T) {
	m := newMap(endpoints.Layout{Name: "fred", Slots: 8})
	m.Teach(response(0, brokers(0, 1, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{1001: 7})
	slots(t, restore(t, m.Encode(), endpoints.Layout{Name: "fred", Slots: 3}), map[int32]int{0: 0, 1: 1, 1001: 2})
	pinned := endpoints.Layout{Name: "fred", Slots: 8, Pinned: map[int32]int{9: 7}}
	slots(t, restore(t, m.Encode(), pinned), map[int32]int{0: 0, 1: 1, 1001: 6})
}

func TestABrokenStateIsRefused(t *testing.T) {
	m := newMap()
	m.Teach(response(time.Minute, brokers(0, 1)...), endpoints.Told)
	good := string(m.Encode())
	for name, state := range map[string]string{
		"empty":          "",
		"cut short":      good[:len(good)/2],
		"another form":   strings.Replace(good, `"version": 1`, `"version": 2`, 1),
		"a node twice":   strings.Replace(good, `"node": 1`, `"node": 0`, 1),
		"a negative one": strings.Replace(good, `"node": 1`, `"node": -1`, 1),
		"a port of none": strings.Replace(good, `"port": 9092`, `"port": 0`, 1),
		"a port too far": strings.Replace(good, `"port": 9092`, `"port": 99092`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMap()
			if err := m.Restore([]byte(state)); err == nil {
				t.Fatal("taken")
			}
			if len(m.Nodes()) != 0 {
				t.Error("something of it was kept")
			}
		})
	}
}

func FuzzRestore(f *testing.F) {
	m := newMap()
	m.Teach(response(0, brokers(0, 1, 1001)...), endpoints.Told)
	f.Add(m.Encode())
	f.Fuzz(func(t *testing.T, state []byte) {
		m := newMap()
		if m.Restore(state) != nil {
			return
		}
		checkSlots(t, m, []endpoints.Layout{layout}, map[[2]int32]int{})
		if err := newMap().Restore(m.Encode()); err != nil {
			t.Errorf("its state cannot be restored: %v", err)
		}
	})
}

// With server names every node has a slot, and there are too many to list.
func TestServerNamesAreNotListed(t *testing.T) {
	names := endpoints.Layout{Name: "names", Slots: math.MaxInt32}
	m := newMap(names)
	m.Teach(response(0, brokers(0, 1001, math.MaxInt32)...), endpoints.Told) // the last id has no slot of its own
	restored := newMap(names)
	if err := restored.Restore(m.Encode()); err != nil {
		t.Fatal(err)
	}
	m.Relayout([]endpoints.Layout{{Name: "ports", Slots: 4}, names, {Name: "others", Slots: math.MaxInt32}}, forgetAfter)
	for _, at := range []struct {
		m        *endpoints.Map
		listener int
	}{{restored, 0}, {m, 1}, {m, 2}} {
		if slot, ok := at.m.Slot(at.listener, 1001); !ok || slot != 1001 {
			t.Errorf("node 1001 has slot %d, %v", slot, ok)
		}
	}
}

func TestRelayout(t *testing.T) {
	layout := func(name string, slots int, first int32) endpoints.Layout {
		return endpoints.Layout{Name: name, Slots: slots, FirstNode: first}
	}
	m := newMap(layout("a", 4, 0), layout("b", 8, 0))
	m.Teach(response(0, brokers(0, 1, 5, 1001)...), endpoints.Told)
	slots(t, m, map[int32]int{0: 0, 1: 1, 5: 3, 1001: 2})
	at := func(when string, want map[string]map[int32]int, layouts ...endpoints.Layout) {
		t.Helper()
		m.Relayout(layouts, forgetAfter)
		if got := len(m.Nodes()); got != 4 {
			t.Errorf("%s: %d nodes", when, got)
		}
		for i, l := range layouts {
			for id, slot := range want[l.Name] {
				if got, ok := m.Slot(i, id); !ok || got != slot {
					t.Errorf("%s: %s: node %d has slot %d, %v, want %d", when, l.Name, id, got, ok, slot)
				}
				if b, ok := m.NodeAt(i, slot); !ok || b.Node != id {
					t.Errorf("%s: %s: slot %d has %v, %v, want %d", when, l.Name, slot, b, ok, id)
				}
			}
		}
	}
	b := map[int32]int{0: 0, 1: 1, 5: 5, 1001: 7}
	at("in another order, with a new one",
		map[string]map[int32]int{"a": {0: 0, 1: 1, 5: 3, 1001: 2}, "b": b, "c": {0: 0, 1: 1}},
		layout("b", 8, 0), layout("c", 4, 0), layout("a", 4, 0))
	at("wider: 5 has a slot of its own, 1001 stays",
		map[string]map[int32]int{"a": {0: 0, 1: 1, 5: 5, 1001: 2}, "b": b},
		layout("b", 8, 0), layout("a", 8, 0))
	at("another first node",
		map[string]map[int32]int{"a": {1: 0, 5: 4}, "b": b},
		layout("a", 8, 1), layout("b", 8, 0))
	at("narrower", map[string]map[int32]int{"a": {1: 0}}, layout("a", 1, 1))
}

// A state that a newer program wrote, with more in it, is read; and one of now has all that the first
// program read.
func TestStateOfANewerProgram(t *testing.T) {
	const newer = `{"version": 1, "cluster_id": "c", "written_by": "v9", "leaders": {"0": 7},
		"nodes": [{"node": 7, "host": "b7.internal", "port": 9092, "seen": "2026-01-02T03:04:05Z", "rack": "az1"}],
		"overflow": {"fred": {"7": 1}}, "more": [1, 2]}`
	m := restore(t, []byte(newer), endpoints.Layout{Name: "fred", Slots: 2})
	if got, ok := m.Node(7); !ok || got != (endpoints.Broker{Node: 7, Host: "b7.internal", Port: 9092}) || m.ClusterID() != "c" {
		t.Errorf("got %v, %t of cluster %q", got, ok, m.ClusterID())
	}
	if slot, ok := m.Slot(0, 7); !ok || slot != 1 {
		t.Errorf("slot %d, %t", slot, ok)
	}
	var oldest struct {
		Version   int
		ClusterID string `json:"cluster_id"`
		Nodes     []struct {
			Node int32
			Host string
			Port int32
			Seen time.Time
		}
		Overflow map[string]map[int32]int
	}
	if err := json.Unmarshal(m.Encode(), &oldest); err != nil {
		t.Fatal(err)
	}
	if oldest.Version != 1 || oldest.ClusterID != "c" || len(oldest.Nodes) != 1 || oldest.Nodes[0].Host != "b7.internal" || oldest.Nodes[0].Seen.IsZero() ||
		oldest.Overflow["fred"][7] != 1 {
		t.Errorf("the first program reads %+v", oldest)
	}
}
