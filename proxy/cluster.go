package proxy

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/rewrite"
)

// cluster is one Kafka cluster: who its brokers are, and how they are reached.
type cluster struct {
	proxy     *Proxy
	conf      *Cluster
	log       *slog.Logger
	dialer    upstream.Dialer
	bootstrap []upstream.Target
	listeners []*listener

	turn     atomic.Uint32 // which bootstrap broker comes first
	looped   atomic.Bool   // a bootstrap address leads back to this proxy
	answered chan struct{} // closed once the cluster has said who its brokers are

	mu       sync.Mutex // guards the following
	brokers  *endpoints.Map
	clashing map[int32]endpoints.Broker // nodes, as they were, that a dial rule sends to another node's address
	taught   bool                       // answered is closed
}

func newCluster(p *Proxy, conf *Cluster) (*cluster, error) {
	c := &cluster{
		proxy:    p,
		conf:     conf,
		log:      p.log.With(slog.String(logkey.Cluster, conf.Name)),
		answered: make(chan struct{}),
		clashing: map[int32]endpoints.Broker{},
	}
	rules, err := conf.compileDial()
	if err != nil {
		return nil, err
	}
	c.dialer = upstream.Dialer{
		Rules:       rules,
		Timeout:     conf.ConnectTimeout,
		Keepalive:   conf.Keepalive,
		Own:         p.isOwn,
		DialContext: p.conf.Dial,
	}
	for _, address := range conf.Bootstrap {
		host, port, err := hostport.Parse(address)
		if err != nil {
			return nil, err
		}
		c.bootstrap = append(c.bootstrap, upstream.Target{Node: NoNode, Host: host, Port: port})
	}
	layouts := make([]endpoints.Layout, len(conf.Listeners))
	for i := range conf.Listeners {
		l := newListener(c, i, &conf.Listeners[i])
		c.listeners = append(c.listeners, l)
		layouts[i] = l.layout()
	}
	c.brokers = endpoints.New(layouts)
	return c, nil
}

// learn takes the brokers that an answer names into the map. Metadata alone
// teaches; other answers add who is not known yet.
func (c *cluster) learn(key int16, named []rewrite.Broker) {
	brokers := make([]endpoints.Broker, len(named))
	for i, b := range named {
		brokers[i] = endpoints.Broker{Node: b.Node, Host: b.Host, Port: b.Port}
	}
	c.mu.Lock()
	var changes []endpoints.Change
	if key == kmsg.Metadata.Int16() {
		changes = c.brokers.Teach(brokers)
	} else {
		changes = c.brokers.Add(brokers)
	}
	c.findClashes(brokers)
	if !c.taught {
		c.taught = true
		close(c.answered)
	}
	c.mu.Unlock()
	for _, change := range changes {
		c.logChange(change)
	}
}

// findClashes notes the nodes of one answer that a dial rule would send where
// another of its nodes is. They stay unmapped as long as they stay where they
// are, also in answers that do not name the other node, which may be restarting:
// an endpoint reaches its own broker or none. The caller holds mu.
func (c *cluster) findClashes(brokers []endpoints.Broker) {
	targets := make([]upstream.Target, len(brokers))
	for i, b := range brokers {
		targets[i] = targetOf(b)
	}
	for _, i := range c.dialer.Rules.Conflicts(targets) {
		b := brokers[i]
		if c.clashing[b.Node] != b {
			c.clashing[b.Node] = b
			c.log.Error("a dial rule leads two nodes to one address; this one is left out of answers",
				slog.Int(logkey.Node, int(b.Node)),
				slog.String(logkey.Fix, "give the node a dial rule of its own"))
		}
	}
}

// clashes reports whether a node is unmapped because of a dial rule. The caller
// holds mu.
func (c *cluster) clashes(node int32) bool {
	was, ok := c.clashing[node]
	now, _ := c.brokers.Node(node)
	return ok && was == now
}

func (c *cluster) logChange(change endpoints.Change) {
	node := slog.Int(logkey.Node, int(change.Broker.Node))
	address := slog.String(logkey.Address, hostport.Join(change.Broker.Host, change.Broker.Port))
	switch change.Kind {
	case endpoints.Overflowed, endpoints.Unmapped:
		l := c.listeners[change.Listener]
		attrs := []any{
			node, slog.String(logkey.Listener, l.conf.Name),
			slog.String(logkey.Fix, "widen the listener's nodes range, or pin the node"),
		}
		if change.Kind == endpoints.Unmapped {
			c.log.Error("no slot is left for this node; it is left out of answers", attrs...)
			return
		}
		c.log.Warn("node is outside the listener's range and took a free slot; replicas of this proxy may differ",
			append(attrs, slog.String(logkey.Bind, l.conf.bindAddress(change.Slot)))...)
	case endpoints.Moved:
		c.log.Info("broker has another address", node, address)
	default:
		c.log.Info("broker found", node, address)
	}
}

// nodeAt returns the node that an endpoint belongs to, if it is known.
func (c *cluster) nodeAt(listener, slot int) (endpoints.Broker, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.brokers.NodeAt(listener, slot)
	return b, ok && !c.clashes(b.Node)
}

// failed says that a broker could not be reached, and returns where it may be
// now instead.
func (c *cluster) failed(b endpoints.Broker) (now endpoints.Broker, moved bool) {
	c.mu.Lock()
	changes := c.brokers.Failed(b)
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	for _, change := range changes {
		c.logChange(change)
	}
	return now, len(changes) > 0
}

// nodes returns the known brokers by id.
func (c *cluster) nodes() []endpoints.Broker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.Nodes()
}

func targetOf(b endpoints.Broker) upstream.Target {
	return upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}
}
