package cluster

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// responseOf converts the brokers of a response for package endpoints.
func responseOf(named rewrite.Brokers) endpoints.Response {
	response := endpoints.Response{ClusterID: named.ClusterID, At: time.Now()}
	for _, b := range named.List {
		response.Brokers = append(response.Brokers, endpoints.Broker{Node: b.Node, Host: b.Host, Port: b.Port})
	}
	return response
}

// Learn merges a response to a client into the map. from is the broker that sent it. Only
// Metadata can change the address of a known node, as far as endpoints.Trust allows. Other
// responses add unknown nodes. The error is a StrangerError: the response is another cluster's, which the map does not
// follow.
func (c *Cluster) Learn(ctx context.Context, key int16, named rewrite.Brokers, from upstream.Target) error {
	response := responseOf(named)
	trust := c.mover.trust()
	c.mu.Lock()
	differs := c.brokers.Differs(response)
	c.mu.Unlock()
	if differs && trust == endpoints.Heard {
		c.sight(sighting{from, response, key == kmsg.Metadata.Int16()})
	}
	if err := c.recognize(ctx, from, response.ClusterID, key == kmsg.Metadata.Int16()); err != nil {
		return err
	}
	if len(named.List) == 0 {
		return nil
	}
	if key != kmsg.Metadata.Int16() {
		c.change(response.Brokers, func(m *endpoints.Map) []endpoints.Change { return m.Add(response) })
		return nil
	}
	c.teach(response, trust)
	return nil
}

// teachAsked merges the response to a request of kproxy's own into the map. question is its
// number. Under load an older request may be answered after a newer one: by then its
// response may have addresses that are no longer true, and it is ignored. isStale reports
// that.
func (c *Cluster) teachAsked(response endpoints.Response, question int64) (isStale bool) {
	c.change(response.Brokers, func(m *endpoints.Map) []endpoints.Change {
		if isStale = question < c.lastAnswered; isStale {
			return nil
		}
		c.lastAnswered = question
		return c.merge(m, response, endpoints.Asked)
	})
	return isStale
}

// teach merges a Metadata response into the map.
func (c *Cluster) teach(response endpoints.Response, trust endpoints.Trust) {
	c.change(response.Brokers, func(m *endpoints.Map) []endpoints.Change { return c.merge(m, response, trust) })
}

// merge merges a Metadata response into the map. The caller holds mu.
func (c *Cluster) merge(m *endpoints.Map, response endpoints.Response, trust endpoints.Trust) []endpoints.Change {
	c.taught = true // only Metadata names all brokers
	c.confirmed = c.confirmed || trust == endpoints.Asked && response.ClusterID != ""
	before := m.ClusterID()
	changes := m.Teach(response, trust)
	if m.ClusterID() != before {
		c.identity.replace(before)
	}
	return changes
}

// change applies a response to the map, and reports the changes. named are the brokers of
// the response.
func (c *Cluster) change(named []endpoints.Broker, apply func(*endpoints.Map) []endpoints.Change) {
	clashes := c.clashesAmong(named)
	c.mu.Lock()
	changes, listeners := apply(c.brokers), c.listeners
	taught := c.taught
	fresh := clashes[:0]
	for _, b := range clashes {
		// A response that the map does not follow clears no clash at the node's own address.
		if now, known := c.brokers.Node(b.Node); known && now.IsAt(b) && c.clashing[b.Node] != now {
			c.clashing[b.Node] = now
			fresh = append(fresh, now)
		}
	}
	if len(c.clashing) > endpoints.MaxNodes {
		maps.DeleteFunc(c.clashing, func(node int32, _ endpoints.Broker) bool {
			_, known := c.brokers.Node(node)
			return !known
		})
	}
	c.mu.Unlock()
	c.note(changes, listeners)
	if taught { // now that Status and the counts have the brokers, too
		c.teaching.Do(func() { close(c.answered) })
	}
	for _, b := range fresh {
		c.mapLines.Log(c.log, slog.LevelError, "a dial rule leads two nodes to one address; this one is left out of responses",
			slog.Int(logkey.Node, int(b.Node)),
			slog.String(logkey.Fix, "give the node a dial rule of its own"))
	}
}

// note reports changes of the map: it counts and logs them, has the state file written, and
// calls Strayed for sessions that have lost their broker. listeners are those that the map had.
func (c *Cluster) note(changes []endpoints.Change, listeners []*config.ListenerPlan) {
	if len(changes) == 0 {
		return
	}
	c.totals.change(changes)
	c.show()
	for _, change := range changes {
		if change.Kind == endpoints.Replaced {
			c.replaced.Add(1)
		}
		c.logChange(change, listeners)
	}
	select {
	case c.changed <- struct{}{}:
	default: // a write is due already
	}
	if slices.ContainsFunc(changes, func(change endpoints.Change) bool { return leavesStrays(change.Kind) }) {
		c.Strayed()
	}
}

// leavesStrays reports whether sessions may lose their broker by a change.
func leavesStrays(kind endpoints.ChangeKind) bool {
	switch kind {
	case endpoints.Moved, endpoints.Gone, endpoints.Evicted, endpoints.Replaced:
		return true
	default:
		return false
	}
}

func (c *Cluster) logChange(change endpoints.Change, listeners []*config.ListenerPlan) {
	if !c.mapLines.Admits(c.log) {
		return
	}
	b := change.Broker
	log := c.log.With(slog.Int(logkey.Node, int(b.Node)))
	switch change.Kind {
	case endpoints.Overflowed, endpoints.Evicted, endpoints.Unmapped:
		l := listeners[change.Listener]
		log = log.With(slog.String(logkey.Listener, l.Name))
		fix := slog.String(logkey.Fix, "widen the listener's nodes range, or pin the node")
		switch change.Kind {
		case endpoints.Unmapped:
			log.Error("no slot is left for this node; it is left out of responses", fix)
		case endpoints.Evicted:
			log.Warn("node has no address, or has not been seen for long, and lost its slot to another", fix,
				slog.String(logkey.Bind, l.BindAddress(change.Slot)))
		default:
			log.Warn("node is outside the listener's range and took a free slot; replicas of this proxy may differ", fix,
				slog.String(logkey.Bind, l.BindAddress(change.Slot)))
		}
	case endpoints.Replaced:
		c.log.Error("another cluster responds; the brokers of the old one are forgotten",
			slog.String(logkey.Fix, "if this comes again, the bootstrap addresses lead to two clusters"))
	case endpoints.Contradicted:
		log.Error("responses to clients contradict each other; nodes move only when their address cannot be dialled",
			slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))),
			slog.String(logkey.Fix, "give kproxy a login of its own (clusters."+c.name+".sasl), so that it can ask the brokers"))
	case endpoints.Gone:
		log.Info("broker's address has become another broker's")
	case endpoints.Moved:
		log.Info("broker has another address", slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))))
	default:
		log.Info("broker found", slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))))
	}
}
