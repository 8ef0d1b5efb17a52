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

// strays reports whether the session is one of c's, for a node, and reaches
// something else than its endpoint's node at that node's address.
func (s *session) strays(c *servedCluster) bool {
	to := s.broker.route()
	if to == nil || s.endpoint.slot == bootstrapSlot || s.endpoint.listener.cluster != c || !to.ownBroker {
		return false
	}
	b, ok := c.NodeAt(s.endpoint.listener.name, s.endpoint.slot)
	return !ok || b.Node != to.target.Node || b.Host == "" || c.AddressOf(b) != to.address
}
