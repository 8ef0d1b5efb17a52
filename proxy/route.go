package proxy

import (
	"kproxy/internal/cluster"
	"kproxy/internal/upstream"
)

// route is the destination of a session's requests. It does not change.
type route struct {
	target  upstream.Target // the broker that was dialled
	address string          // where
	// ownBroker says that any request may be sent: the endpoint is the bootstrap endpoint, or the
	// broker is the endpoint's own. Otherwise only what teaches who is where.
	ownBroker bool
	way       *cluster.Way // by which it was dialled; nil: it was not reached
	replaced  int64        // Cluster.Replaced before the dial
}

// drainStrays ends the sessions whose node has left the address at which they reached it, or
// has lost its endpoint to another node.
func (c *servedCluster) drainStrays() {
	for _, s := range c.proxy.live() {
		if s.strays(c) {
			s.leave(askMove)
		}
	}
}

// strays reports whether the session is one of c's, and reaches a broker of another cluster, or,
// for a node, something else than its endpoint's node at that node's address.
func (s *session) strays(c *servedCluster) bool {
	to := s.broker.route()
	if to == nil || s.endpoint.listener.cluster != c || !to.ownBroker {
		return false
	}
	if to.way != nil && to.way != c.Way() && to.replaced != c.Replaced() { // a reload led to another cluster
		return true
	}
	if c.HasStranger(to.target) {
		return true
	}
	if s.endpoint.slot == bootstrapSlot {
		return false
	}
	b, ok := c.NodeAt(s.endpoint.listener.name, s.endpoint.slot)
	if s.endpoint.isStale() { // the session is for the node that it has reached
		b, ok = c.Node(to.target.Node)
	}
	return !ok || b.Node != to.target.Node || b.Host == "" || c.AddressOf(b) != to.address
}
