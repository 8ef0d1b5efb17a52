package endpoints_test

import (
	"slices"
	"testing"

	"kproxy/internal/endpoints"
)

// A node with a fixed dial address keeps its address when another node advertises the
// same one. Brokers do this that all advertise localhost.
func TestFixedNodesKeepASharedAddress(t *testing.T) {
	one, two := broker(1), broker(2)
	two.Host, two.Port = one.Host, one.Port
	for _, trust := range []endpoints.Trust{endpoints.Heard, endpoints.Told, endpoints.Asked} {
		m := newMap()
		m.Fixed = func(node int32) bool { return node == 2 }
		for range 3 {
			for _, c := range m.Teach(response(0, one, two), trust) {
				if c.Kind != endpoints.Added {
					t.Errorf("trust %d: got the change %v, want none but added", trust, c)
				}
			}
		}
		if got := m.Nodes(); !slices.Equal(got, []endpoints.Broker{one, two}) {
			t.Errorf("trust %d: got %v, want both at one address", trust, got)
		}
		if m.Differs(response(0, one, two)) {
			t.Errorf("trust %d: the same response differs", trust)
		}
		m.Fixed = nil
		if got := kinds(m.Teach(response(0, one, two), trust)); !slices.Equal(got, []endpoints.ChangeKind{endpoints.Gone}) {
			t.Errorf("trust %d: not fixed: got %v, want the second gone", trust, got)
		}
	}
	m := newMap()
	m.Fixed = func(node int32) bool { return node == 2 }
	m.Teach(response(0, one), endpoints.Asked)
	m.Add(response(0, two))
	if got := m.Nodes(); !slices.Equal(got, []endpoints.Broker{one, two}) {
		t.Errorf("added: got %v, want both at one address", got)
	}
}
