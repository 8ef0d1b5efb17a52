package config

import (
	"strings"
	"testing"
)

func namesOf(sni string) NodeNames {
	l := Listener{Nodes: Nodes{SNI: sni}}.in("orders")
	names, err := newNodeNames(l.Nodes.SNI)
	if err != nil {
		panic(err)
	}
	return names
}

func TestNodeNames(t *testing.T) {
	for _, tt := range []struct {
		sni, name string
		node      int32 // -1: none
	}{
		{"b{node}.example.com:443", "b7.example.com", 7},
		{"B{node}.{cluster}.Example.com:443", "b2147483647.orders.example.com", 2147483647},
		{"{node}.example.com:443", "0.example.com", 0},
		{"b{node}.Example.com.:443", "b7.example.com", 7},
		{"b{node}.example.com:443", "b2147483648.example.com", -1},
		{"b{node}.example.com:443", "b07.example.com", -1},
		{"b{node}.example.com:443", "b+7.example.com", -1},
		{"b{node}.example.com:443", "b-7.example.com", -1},
		{"b{node}.example.com:443", "b.example.com", -1},
		{"b{node}.example.com:443", "b7.example.com.", -1},
		{"b{node}.example.com:443", "xb7.example.com", -1},
		{"a{node}a:443", "a", -1},
	} {
		node, ok := namesOf(tt.sni).Find(tt.name)
		if ok != (tt.node >= 0) || ok && node != tt.node {
			t.Errorf("%s in %s: got %d, %v, want %d", tt.name, tt.sni, node, ok, tt.node)
		}
	}
}

func TestNodeNamesMeet(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"b{node}.x.com:443", "b{node}.x.com:444", true},
		{"b{node}.x.com:443", "b{node}.y.com:443", false},
		{"b{node}.x.com:443", "b1{node}.x.com:443", true},
		{"b{node}.x.com:443", "bb{node}.x.com:443", false},
		{"{node}0.x.com:443", "{node}.x.com:443", true},
		{"{node}.{cluster}.x.com:443", "{node}.audit.x.com:443", false},
	} {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := namesOf(pair[0]).meets(namesOf(pair[1])); got != tt.want {
				t.Errorf("%s and %s: got %v, want %v", pair[0], pair[1], got, tt.want)
			}
		}
	}
}

// FuzzNodeNames: every name that is found is that node's, and nothing else's.
func FuzzNodeNames(f *testing.F) {
	f.Add("b", ".example.com", "b7.example.com")
	f.Add("", "", "00")
	f.Fuzz(func(t *testing.T, before, behind, name string) {
		n := NodeNames{before: before, behind: behind}
		node, ok := n.Find(name)
		if ok && n.Of(node) != name {
			t.Errorf("%q is taken for that of node %d, which is %q", name, node, n.Of(node))
		}
		digits := strings.TrimSuffix(strings.TrimPrefix(name, before), behind)
		if want := digits == "7" && name == before+digits+behind; want && (!ok || node != 7) {
			t.Errorf("%q is not found", name)
		}
	})
}
