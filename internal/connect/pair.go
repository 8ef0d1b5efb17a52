package connect

import (
	"maps"
	"slices"

	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Broker is a broker as the cluster names it.
type Broker = proxy.Broker

func addressOf(b Broker) string { return hostport.Join(b.Host, b.Port) }

// How says why a node is dialled at its address.
type How string

// The reasons.
const (
	BySaying     How = "--node"                // the user says so
	ByRule       How = "--dial"                // a rule of the user's decides
	ByBeingAlone How = "the only broker"       // the cluster has no other
	ByAsking     How = "it responds there"     // the broker identifies itself
	ByName       How = "its name"              // it advertises the address itself
	ByResolving  How = "its resolved address"  // its name resolves to it
	ByItself     How = "its own address works" // no address of the user's: the advertised address
	Unreachable  How = "cannot be reached"
	Untried      How = "not tried" // there are more than maxTried brokers
)

// rules are the dial rules: the user's first.
func (o *Options) rules(paired map[int32]string) []config.DialRule {
	var rules []config.DialRule
	add := func(nodes map[int32]string) {
		for _, node := range slices.Sorted(maps.Keys(nodes)) {
			rules = append(rules, config.DialRule{Node: &node, To: nodes[node]})
		}
	}
	add(o.Nodes)
	rules = append(rules, o.Dial...)
	add(paired)
	return rules
}

// ruled says by which of the user's options a broker is dialled; "": by none.
func (o *Options) ruled(b Broker) How {
	if _, ok := o.Nodes[b.Node]; ok {
		return BySaying
	}
	rules := make([]upstream.Rule, len(o.Dial))
	for i, r := range o.Dial {
		rules[i] = upstream.Rule(r)
	}
	compiled, err := upstream.Compile(rules)
	if err != nil { // Validate reports it
		return ""
	}
	if _, rule, _ := compiled.Resolve(upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}); rule != upstream.NoRule {
		return ByRule
	}
	return ""
}

// witness has the known facts about one address of the user's.
type witness struct {
	address  string
	node     int32    // the node that responds there each time; proxy.NoNode: not known
	resolved []string // the host:ports that it resolves to
	mixed    bool     // several nodes respond there, as behind a load balancer
}

// pairing has each broker's address, as far as the witnesses show it: an address for one
// node, and a node at one address.
type pairing struct {
	at  map[int32]string // node -> the user's address
	how map[int32]How
}

// pair finds the addresses of the nodes that are not settled. resolved are
// the brokers' own names, resolved, by node.
func pair(brokers []Broker, settled map[int32]How, witnesses []witness, resolved map[int32][]string) pairing {
	p := pairing{at: map[int32]string{}, how: maps.Clone(settled)}
	if p.how == nil {
		p.how = map[int32]How{}
	}
	taken := map[string]bool{}
	put := func(node int32, w witness, how How) {
		if p.how[node] == "" && !taken[w.address] {
			p.at[node], p.how[node], taken[w.address] = w.address, how, true
		}
	}
	for _, w := range witnesses {
		// A load balancer's address is for bootstrap only, also where a broker
		// advertises it.
		taken[w.address] = taken[w.address] || w.mixed
		if slices.ContainsFunc(brokers, func(b Broker) bool { return b.Node == w.node }) {
			put(w.node, w, ByAsking)
		}
		if w.node != proxy.NoNode {
			taken[w.address] = true // no other node is there
		}
	}
	if len(brokers) == 1 && len(witnesses) > 0 {
		put(brokers[0].Node, witnesses[0], ByBeingAlone)
	}
	for _, b := range brokers {
		for _, w := range witnesses {
			if hostport.CanonicalAddress(w.address) == hostport.CanonicalAddress(addressOf(b)) {
				put(b.Node, w, ByName)
			}
		}
	}
	for _, b := range brokers {
		for _, w := range witnesses {
			if slices.ContainsFunc(w.resolved, func(a string) bool { return slices.Contains(resolved[b.Node], a) }) {
				put(b.Node, w, ByResolving)
			}
		}
	}
	return p
}
