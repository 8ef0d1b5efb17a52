package config

import (
	"net/netip"
	"strconv"
	"strings"

	"kproxy/internal/hostport"
)

// What stands for a node's id, and for the cluster's name, in Nodes.SNI.
const (
	nodeVariable    = "{node}"
	clusterVariable = "{cluster}"
)

// NodeNames are the server names of a listener's nodes: what stands around the
// node's id, in canonical form.
type NodeNames struct {
	before, behind string
	port           int32
}

// newNodeNames parses Nodes.SNI, in which {node} stands once, in the host.
func newNodeNames(sni string) (NodeNames, error) {
	before, _, _ := strings.Cut(sni, nodeVariable)
	at, err := parse(strings.Replace(sni, nodeVariable, "0", 1))
	if err != nil {
		return NodeNames{}, err
	}
	host := at.canonical().host // of the length that it was, but for a root dot
	return NodeNames{host[:len(before)], host[len(before)+1:], at.port}, nil
}

// Of returns the name of a node.
func (n NodeNames) Of(node int32) string {
	return n.before + strconv.Itoa(int(node)) + n.behind
}

// Find returns the node that a canonical name would be for, whether there is such a
// node or not. There is one name for a node: b07 is not node 7.
func (n NodeNames) Find(name string) (node int32, ok bool) {
	rest, ok := strings.CutPrefix(name, n.before)
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, n.behind)
	id, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || id < 0 || strconv.FormatInt(id, 10) != digits {
		return 0, false
	}
	return int32(id), true
}

// meets reports whether a name may be one of both.
func (n NodeNames) meets(m NodeNames) bool {
	return apart(n.before, m.before, strings.CutPrefix) && apart(n.behind, m.behind, strings.CutSuffix)
}

// apart reports whether the two differ by digits at most, which may be an id's.
func apart(a, b string, cut func(s, by string) (string, bool)) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	rest, ok := cut(a, b)
	return ok && strings.Trim(rest, "0123456789") == ""
}

// in is the listener with the name of its cluster in its nodes' names.
func (l Listener) in(cluster string) Listener {
	l.Nodes.SNI = strings.ReplaceAll(l.Nodes.SNI, clusterVariable, cluster)
	return l
}

// isAddress reports whether a host is an address, for which clients send no
// server name.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(hostport.Canonical(host))
	return err == nil
}
