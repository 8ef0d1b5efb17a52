package upstream

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
)

// NoNode is the Node of a Target whose broker id is not known: a bootstrap
// address.
const NoNode int32 = -1

// NoRule is the index that Resolve returns if no rule matched.
const NoRule = -1

// Target is a broker, by its address in the cluster or the configuration.
type Target struct {
	Node int32  // broker id, or NoNode
	Host string // as advertised; IPv6 without brackets
	Port int32

	// Configured says that the address is the configuration's own, and not one
	// that a response or a state file gave.
	Configured bool
}

// maxShown is the most characters of an address in errors and logs: a DNS name has
// 253 at most, and a port with its colon 6. A broker can advertise 32 KB.
const maxShown = 259

// String is t's name in errors and logs.
func (t Target) String() string {
	address := foreign.LineOf(hostport.Join(t.Host, t.Port), maxShown)
	if t.Node == NoNode {
		return "bootstrap " + address
	}
	return fmt.Sprintf("node %d (%s)", t.Node, address)
}

// Rule has the address at which a broker is reached. Exactly one of Node and Match is
// set.
type Rule struct {
	Node  *int32 // the broker with this id
	Match string // glob on host:port, case-insensitive; * matches any run of characters
	To    string // host:port, with the variables that Compile lists
}

// Rules are compiled dial rules. The zero value has none: every broker is dialled at its
// advertised address. Rules do not change and may be used by several goroutines.
type Rules struct {
	rules  []compiled
	shared bool // brokers at one address are distinguished by their names
}

// compiled is one rule: either node or pattern is set.
type compiled struct {
	node    *int32
	pattern *regexp.Regexp
	to      template
	fixed   string // the dial address of node, if To depends on nothing else
}

// Resolve is the address, host:port, at which t is dialled. The first rule that
// matches decides, and rule is its index; with none, the address is t's own and
// rule is NoRule.
//
// A target without a node matches neither a rule for a node nor a rule whose To
// needs one: {match: "*:9092", to: "127.0.0.1:{19092+node}"} leaves bootstrap
// addresses to the rules below it.
//
// The error says that the deciding rule gives no valid address for t. There is then no
// address to dial: another rule, or t's own address, could reach another broker than the
// intended one.
func (r Rules) Resolve(t Target) (address string, rule int, err error) {
	for i, c := range r.rules {
		captures, ok := c.match(t)
		if !ok {
			continue
		}
		address, err := c.to.expand(t, captures)
		if err != nil {
			return "", i, fmt.Errorf("dial rule %d for %s: %w", i, t, err)
		}
		return address, i, nil
	}
	return hostport.Join(t.Host, t.Port), NoRule, nil
}

// Fixed is the dial address of a node that does not depend on the address in the cluster:
// the deciding rule is for this node, and its address depends on nothing else. If a rule
// above it matches addresses, that may decide instead, and there is none.
func (r Rules) Fixed(node int32) (address string, ok bool) {
	for _, c := range r.rules {
		switch {
		case c.node == nil:
			return "", false
		case *c.node == node:
			return c.fixed, c.fixed != ""
		}
	}
	return "", false
}

// match says whether the rule decides for t, and returns the text of each *.
func (c compiled) match(t Target) (captures []string, ok bool) {
	if c.node != nil {
		return nil, t.Node == *c.node
	}
	if t.Node == NoNode && c.to.uses(variableNode) {
		return nil, false
	}
	found := c.pattern.FindStringSubmatch(hostport.Join(keepingCase(t.Host), t.Port))
	if found == nil {
		return nil, false
	}
	return found[1:], true
}

// keepingCase is the canonical form of a host, except the case of a name, which captures
// keep.
func keepingCase(host string) string {
	canonical := hostport.Canonical(host)
	if n := len(canonical); n <= len(host) && hostport.Canonical(host[:n]) == canonical {
		return host[:n]
	}
	return canonical
}

// Conflicts are the indexes, ascending, of those targets that must stay unmapped, because
// their dial address is another node's: one connection cannot tell two brokers apart by
// its address (but see CompileShared). Brokers that no rule touches keep their address
// before those that a rule leads there; among equals the lowest node id keeps it, so that
// every replica of kproxy decides alike.
//
// A node that occurs twice, such as the coordinator of two groups, does not conflict with
// itself. Targets without a node are ignored, and so are targets for which Resolve fails:
// nothing is dialled for those.
func (r Rules) Conflicts(targets []Target) []int {
	type dialled struct {
		index   int
		address string
		ruled   bool
	}
	var all []dialled
	for i, t := range targets {
		address, rule, err := r.Resolve(t)
		if t.Node != NoNode && err == nil {
			all = append(all, dialled{i, r.place(t, address), rule != NoRule})
		}
	}
	slices.SortStableFunc(all, func(a, b dialled) int {
		if a.ruled != b.ruled {
			if b.ruled {
				return -1
			}
			return 1
		}
		return cmp.Compare(targets[a.index].Node, targets[b.index].Node)
	})
	taken := make(map[string]int32) // address -> the node that keeps it
	var conflicts []int
	for _, d := range all {
		node := targets[d.index].Node
		if by, ok := taken[d.address]; ok && by != node {
			conflicts = append(conflicts, d.index)
			continue
		}
		taken[d.address] = node
	}
	slices.Sort(conflicts)
	return conflicts
}

// place is unique to each node: the address at which it is dialled, and, where that may
// be shared, the name that TLS asks for there. An IP address is no such name.
func (r Rules) place(t Target, address string) string {
	place, host := hostport.CanonicalAddress(address), hostport.Canonical(t.Host)
	if _, err := netip.ParseAddr(host); r.shared && err != nil {
		place += " as " + host
	}
	return place
}
