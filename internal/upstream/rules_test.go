package upstream_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
)

func TestResolve(t *testing.T) {
	broker7 := upstream.Target{Node: 7, Host: "b7.prod.internal", Port: 9092}
	bootstrap := upstream.Target{Node: upstream.NoNode, Host: "boot.internal", Port: 9092}
	tests := []struct {
		name   string
		rules  []upstream.Rule
		target upstream.Target
		want   string
		rule   int
	}{
		{"no rules", nil, broker7, "b7.prod.internal:9092", upstream.NoRule},
		{"no rules, IPv6", nil, upstream.Target{Node: 1, Host: "fd00::1", Port: 9092}, "[fd00::1]:9092", upstream.NoRule},
		{"node", rules(node(7, "10.0.0.7:9092")), broker7, "10.0.0.7:9092", 0},
		{"another node", rules(node(8, "10.0.0.8:9092")), broker7, "b7.prod.internal:9092", upstream.NoRule},
		{"node rules need a node", rules(node(0, "10.0.0.7:9092")), bootstrap, "boot.internal:9092", upstream.NoRule},
		{"first match wins", rules(match("*:9092", "10.0.0.1:1"), node(7, "10.0.0.7:9092")), broker7, "10.0.0.1:1", 0},
		{"case", rules(match("B7.Prod.*:9092", "x:1")), broker7, "x:1", 0},
		{"the whole address", rules(match("7.prod.internal:9092", "x:1"), match("b7.prod.internal:909", "x:1")), broker7, "b7.prod.internal:9092", upstream.NoRule},
		{"a dot is a dot", rules(match("b7xprod.internal:9092", "x:1")), broker7, "b7.prod.internal:9092", upstream.NoRule},
		{"a sum", rules(match("*.internal:9092", "127.0.0.1:{19092+node}")), broker7, "127.0.0.1:19099", 0},
		{"a sum with the port", rules(match("*", "127.0.0.1:{10000+port}")), broker7, "127.0.0.1:19092", 0},
		{"a sum in the host", rules(match("*", "10.0.0.{100+node}:{port}")), broker7, "10.0.0.107:9092", 0},
		{"a rule that needs a node leaves bootstrap to the next", rules(match("*", "127.0.0.1:{19092+node}"), match("*", "127.0.0.1:19000")), bootstrap, "127.0.0.1:19000", 1},
		{"captures", rules(match("b*.*.internal:*", "{1}-{2}.example.com:{3}")), broker7, "7-prod.example.com:9092", 0},
		{"the leftmost star is as short as the rest allows", rules(match("*.*:9092", "h{1}x{2}:1")), broker7, "hb7xprod.internal:1", 0},
		{"a star may be empty", rules(match("b7*.prod.internal:9092", "h{1}h:1")), broker7, "hh:1", 0},
		{"a star may be host and port", rules(match("b7.*", "{1}")), broker7, "prod.internal:9092", 0},
		{"captures keep their case", rules(match("b*:9092", "b{1}:1")), upstream.Target{Node: 1, Host: "B-ONE", Port: 9092}, "b-ONE:1", 0},
		{"host and port", rules(node(7, "{host}.example.com:{port}")), broker7, "b7.prod.internal.example.com:9092", 0},
		{"an IPv6 host comes with its brackets", rules(match("*:9092", "{host}:{10000+port}")), upstream.Target{Node: 1, Host: "fd00::1", Port: 9092}, "[fd00::1]:19092", 0},
		{"a root dot of the broker", rules(match("b7.internal:9092", "x:1")), upstream.Target{Node: 7, Host: "B7.internal.", Port: 9092}, "x:1", 0},
		{"a root dot of the rule", rules(match("B*.internal.:9092", "h{1}:1")), upstream.Target{Node: 7, Host: "b7.internal", Port: 9092}, "h7:1", 0},
		{"captures have no root dot", rules(match("B*:9092", "h{1}:1")), upstream.Target{Node: 7, Host: "b7.INTERNAL.", Port: 9092}, "h7.INTERNAL:1", 0},
		{"an address written otherwise", rules(match("[0:0::1]:9092", "x:1")), upstream.Target{Node: 7, Host: "[0:0:0:0:0:0:0:1]", Port: 9092}, "x:1", 0},
		{"brackets of the broker", nil, upstream.Target{Node: 7, Host: "[::1]", Port: 9092}, "[::1]:9092", upstream.NoRule},
		{"brackets of the broker in a rule", rules(match("*", "{host}:1")), upstream.Target{Node: 7, Host: "[fd00::1]", Port: 9092}, "[fd00::1]:1", 0},
		{"a star in IPv6 brackets", rules(match("[*]:9092", "[{1}]:9093")), upstream.Target{Node: 1, Host: "fd00::1", Port: 9092}, "[fd00::1]:9093", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, rule, err := compile(t, tt.rules).Resolve(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want || rule != tt.rule {
				t.Errorf("got %s by rule %d, want %s by rule %d", got, rule, tt.want, tt.rule)
			}
		})
	}
}

// A rule that makes no address ends the search: the next rule, or the broker's
// own address, may be another broker's.
func TestResolveFails(t *testing.T) {
	compiled := compile(t, rules(match("*", "127.0.0.1:{60000+node}"), match("*", "127.0.0.1:1")))

	got, rule, err := compiled.Resolve(upstream.Target{Node: 9092, Host: "b", Port: 9092})
	const want = `dial rule 0 for node 9092 (b:9092): "127.0.0.1:69092" has the port "69092"; write a port of 1-65535, such as 127.0.0.1:9092`
	if err == nil || err.Error() != want {
		t.Errorf("error:\n got %v\nwant %s", err, want)
	}
	if got != "" || rule != 0 {
		t.Errorf("got %q by rule %d, want no address by rule 0", got, rule)
	}
}

func TestCompileErrors(t *testing.T) {
	const forms = `write {node: 7, to: "10.0.0.7:9092"} or {match: "*.internal:9092", to: "127.0.0.1:{19092+node}"}`
	tests := []struct {
		name  string
		rules []upstream.Rule
		want  string
	}{
		{"neither", rules(upstream.Rule{To: "x:1"}), "dial[0]: neither node nor match; " + forms},
		{"both", rules(upstream.Rule{Node: new(int32), Match: "*", To: "x:1"}), "dial[0]: both node and match; keep one; " + forms},
		{"negative node", rules(node(-1, "x:1")), "dial[0].node: -1 is no broker id; write an id of 0 or more"},
		{"no to", rules(match("*", "")), "dial[0].to: the address is empty; write host:port, such as 127.0.0.1:9092"},
		{"to without a port", rules(match("*", "{host}")), `dial[0].to: "host" has no port; add one, such as host:9092`},
		{"to without a host", rules(match("*", ":{port}")), `dial[0].to: ":1" names no host that could be dialled; write the host where the broker is reached, such as 127.0.0.1`},
		{"to with an impossible sum", rules(match("*", "x:{70000+node}")), `dial[0].to: "x:70000" has the port "70000"; write a port of 1-65535, such as x:9092`},
		{"node with an impossible sum", rules(node(40000, "x:{30000+node}")), `dial[0].to: "x:70000" has the port "70000"; write a port of 1-65535, such as x:9092`},
		{"unknown variable", rules(match("*", "{name}:1")), "dial[0].to: {name} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}"},
		{"no such star", rules(match("*.*", "{3}:1")), "dial[0].to: {3} is no variable here; use {node}, {host}, {port}, {1} to {2}, or one sum such as {19092+node}"},
		{"a node rule captures nothing", rules(node(7, "{1}:1")), "dial[0].to: {1} is no variable here; use {node}, {host}, {port}, or one sum such as {19092+node}"},
		{"a sum the other way round", rules(match("*", "x:{node+1}")), "dial[0].to: {node+1} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}"},
		{"a sum of three", rules(match("*", "x:{1+node+port}")), "dial[0].to: {1+node+port} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}"},
		{"a sum with a host", rules(match("*", "x:{1+host}")), "dial[0].to: {1+host} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}"},
		{"two sums", rules(match("*", "10.0.0.{1+node}:{1+port}")), `dial[0].to: "10.0.0.{1+node}:{1+port}" has more than one sum; keep one, such as 127.0.0.1:{19092+node}`},
		{"an open brace", rules(match("*", "x:{node")), `dial[0].to: "x:{node" has a brace without its pair; write variables as in 127.0.0.1:{19092+node}`},
		{"a closing brace", rules(match("*", "x}:{node}")), `dial[0].to: "x}:{node}" has a brace without its pair; write variables as in 127.0.0.1:{19092+node}`},
		{"a match without its port", rules(match("*.internal", "x:1")), `dial[0].match: "*.internal" matches no address, because it ends before the port; write *.internal:9092, or *.internal:* for every port`},
		{"one node twice", rules(node(7, "x:1"), match("*", "z:1"), node(7, "y:1")), "dial[2].node: node 7 has a rule already, dial[0]; remove one of them"},
		{"two nodes at one address", rules(node(7, "X:19099"), node(8, "x:1"), node(9, "x:{19090+node}")), "dial[2].to: node 9 would be dialled at x:19099, and so is node 7 by dial[0]; give each broker an address of its own"},
		{"all at once", rules(node(-1, "x:1"), match("*", "{a}:1")), "dial[0].node: -1 is no broker id; write an id of 0 or more\ndial[1].to: {a} is no variable here; use {node}, {host}, {port}, {1}, or one sum such as {19092+node}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := upstream.Compile(tt.rules)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error:\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Two nodes may share a To that depends on the node.
func TestCompileTakesOneToForTwoNodes(t *testing.T) {
	compile(t, rules(node(1, "127.0.0.1:{19092+node}"), node(2, "127.0.0.1:{19092+node}"), node(3, "{host}:1"), node(4, "{host}:1")))
}

func TestConflicts(t *testing.T) {
	broker := func(node int32, address string) upstream.Target {
		return upstream.Target{Node: node, Host: address, Port: 9092}
	}
	tests := []struct {
		name    string
		rules   []upstream.Rule
		targets []upstream.Target
		want    []int
	}{
		{"none without rules", nil, []upstream.Target{broker(1, "a"), broker(2, "b")}, nil},
		{"one address given twice", nil, []upstream.Target{broker(2, "same"), broker(1, "Same")}, []int{0}},
		{"nor a root dot, or another way to write an address", nil, []upstream.Target{broker(1, "a.b."), broker(2, "A.b"), broker(3, "fd00::1"), broker(4, "[FD00:0::1]")}, []int{1, 3}},
		{"a root dot of a rule", rules(node(1, "x.:1"), match("*", "X:1")), []upstream.Target{broker(1, "a"), broker(2, "b")}, []int{1}},
		{"a node that is there twice", rules(match("*", "x:{1+node}")), []upstream.Target{broker(1, "a"), broker(2, "b"), broker(1, "a")}, nil},
		{"a node that is there twice, without rules", nil, []upstream.Target{broker(1, "a"), broker(1, "a")}, nil},
		{"each its own address", rules(match("*", "x:{1+node}")), []upstream.Target{broker(1, "a"), broker(2, "b")}, nil},
		{"the lowest id keeps it", rules(match("*", "x:1")), []upstream.Target{broker(3, "c"), broker(1, "a"), broker(2, "b")}, []int{0, 2}},
		{"case is no difference", rules(node(1, "X:1"), match("*", "x:1")), []upstream.Target{broker(1, "a"), broker(2, "b")}, []int{1}},
		{"a broker keeps its own address", rules(node(1, "b:9092")), []upstream.Target{broker(1, "a"), broker(2, "B")}, []int{0}},
		{"bootstrap addresses are no nodes", rules(match("*", "x:1")), []upstream.Target{broker(upstream.NoNode, "boot"), broker(2, "b")}, nil},
		{"a failing rule dials nothing", rules(match("*", "x:{65000+node}")), []upstream.Target{broker(1000, "a"), broker(2000, "b")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := compile(t, tt.rules).Conflicts(tt.targets); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// In TLS, brokers at one address are distinguished by their names, if they have names.
func TestConflictsOfSharedAddresses(t *testing.T) {
	shared, err := upstream.CompileShared(rules(node(1, "gateway:443"), node(2, "gateway:443"), match("*", "gateway:443")))
	if err != nil {
		t.Fatal(err)
	}
	targets := []upstream.Target{
		{Node: 1, Host: "b1", Port: 9092},
		{Node: 2, Host: "b2", Port: 9092},
		{Node: 3, Host: "B2", Port: 9093},
		{Node: 4, Host: "10.0.0.4", Port: 9092},
		{Node: 5, Host: "fd00::5", Port: 9092},
	}
	if got, want := shared.Conflicts(targets), []int{2, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: one name, and no name", got, want)
	}
}

// FuzzResolve compares the glob, in canonical form, with a simple backtracking matcher, and checks that every
// rule gives an address that can be dialled, or an error.
func FuzzResolve(f *testing.F) {
	f.Add("b*.internal:9092", "127.0.0.1:{19092+node}", "b7.internal", int32(7), int32(9092))
	f.Add("*.*:*", "{1}-{2}:{3}", "b7.prod.internal", int32(-1), int32(9092))
	f.Add("[*]:*", "[{1}]:{1+port}", "fd00::1", int32(0), int32(1))
	f.Add("B:1", "{host}:{port}", "b", int32(0), int32(1))
	f.Add("**.:*", "{1}", "0", int32(-1), int32(9113)) // a root dot is not compared
	f.Fuzz(func(t *testing.T, glob, to, host string, node, port int32) {
		compiled, err := upstream.Compile(rules(match(glob, to)))
		if err != nil {
			return
		}
		target := upstream.Target{Node: node, Host: host, Port: port}
		address, rule, err := compiled.Resolve(target)
		if err == nil && rule == 0 && !regexp.MustCompile(`^(\[.+\]|.+):[1-9][0-9]*$`).MatchString(address) {
			t.Errorf("Resolve(%v) = %q, which is no address", target, address)
		}

		whole := hostport.Join(hostport.Canonical(host), port)
		if !ascii(glob+whole) || strings.Count(glob, "*") > 5 {
			return // the oracle folds the case of ASCII only, and takes exponential time
		}
		want := globMatches(hostport.CanonicalAddress(glob), whole)
		if node == upstream.NoNode && strings.Contains(to, "node}") {
			want = false
		}
		if got := rule == 0; got != want {
			t.Errorf("%q on %q: got %v, want %v", glob, whole, got, want)
		}
	})
}

// globMatches is the oracle of FuzzResolve.
func globMatches(glob, s string) bool {
	if glob == "" {
		return s == ""
	}
	if glob[0] != '*' {
		return s != "" && s[0] == glob[0] && globMatches(glob[1:], s[1:])
	}
	glob = strings.TrimLeft(glob, "*")
	for i := range len(s) + 1 {
		if globMatches(glob, s[i:]) {
			return true
		}
	}
	return false
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

func compile(t *testing.T, rules []upstream.Rule) upstream.Rules {
	t.Helper()
	compiled, err := upstream.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func rules(rules ...upstream.Rule) []upstream.Rule { return rules }

func node(id int32, to string) upstream.Rule { return upstream.Rule{Node: &id, To: to} }

func match(glob, to string) upstream.Rule { return upstream.Rule{Match: glob, To: to} }

func TestFixed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []upstream.Rule
		want  string
	}{
		{"no rules", nil, ""},
		{"by node", rules(node(8, "10.0.0.8:9092"), node(7, "10.0.0.7:9092")), "10.0.0.7:9092"},
		{"by node, with the node", rules(node(7, "10.0.0.1:{19092+node}")), "10.0.0.1:19099"},
		{"by node, with the port that it advertises", rules(node(7, "10.0.0.1:{10000+port}")), ""},
		{"below a rule for addresses", rules(match("*:9092", "10.0.0.1:1"), node(7, "10.0.0.7:9092")), ""},
		{"above a rule for addresses", rules(node(7, "10.0.0.7:9092"), match("*:9092", "10.0.0.1:1")), "10.0.0.7:9092"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compiled, err := upstream.Compile(tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := compiled.Fixed(7); got != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}
