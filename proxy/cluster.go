package proxy

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/rewrite"
)

// cluster is one Kafka cluster: who its brokers are, and how they are reached.
type cluster struct {
	proxy     *Proxy
	conf      *Cluster
	log       *slog.Logger
	dialer    *upstream.Dialer
	via       *via.Dialer     // nil: brokers are dialled from here
	tls       *tlsconf.Client // nil: the brokers are spoken to in plaintext
	method    *auth.Method    // of logging in at its brokers; nil: the proxy does not
	bootstrap []upstream.Target
	listeners []*listener

	pulse  pulse
	asker  asker
	offers offers
	tally  clusterTally

	turn     atomic.Uint32 // which bootstrap broker comes first
	probes   probes
	answered chan struct{} // closed once the cluster has said who its brokers are
	state    *stateFile    // nil: the map is kept in memory only
	changed  chan struct{} // holds one when the map is to be written to state

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
		asker:    newAsker(),
		answered: make(chan struct{}),
		clashing: map[int32]endpoints.Broker{},
		changed:  make(chan struct{}, 1),
	}
	rules, err := conf.compileDial()
	if err != nil {
		return nil, err
	}
	admitted, err := upstream.CompileAdmission(conf.Brokers)
	if err != nil {
		return nil, err
	}
	if conf.SASL != nil {
		if c.method, err = auth.New(conf.SASL); err != nil {
			return nil, err
		}
	}
	c.dialer = &upstream.Dialer{
		Rules:       rules,
		Brokers:     admitted,
		Keepalive:   conf.Keepalive,
		Own:         p.isOwn,
		DialContext: p.conf.Dial,
		Source:      conf.sources(),
	}
	if err := c.goVia(); err != nil {
		return nil, err
	}
	if c.tls, err = newBrokerTLS(conf, c.log); err != nil {
		return nil, err
	}
	for _, address := range conf.Bootstrap {
		host, port, err := hostport.Parse(address)
		if err != nil {
			return nil, err
		}
		c.bootstrap = append(c.bootstrap, upstream.Target{Node: NoNode, Host: host, Port: port, Configured: true})
		if hostport.IsLoopback(host) {
			c.dialer.AllowLoopback()
		}
	}
	layouts := make([]endpoints.Layout, len(conf.Listeners))
	for i := range conf.Listeners {
		l, err := newListener(c, i, &conf.Listeners[i])
		if err != nil {
			return nil, err
		}
		c.listeners = append(c.listeners, l)
		layouts[i] = l.layout()
	}
	c.brokers = endpoints.New(layouts, conf.ForgetAfter)
	return c, nil
}

// learn takes the brokers that an answer names into the map. Metadata alone
// teaches; other answers add who is not known yet.
func (c *cluster) learn(key int16, named rewrite.Brokers) {
	answer := endpoints.Answer{ClusterID: named.ClusterID, At: time.Now()}
	for _, b := range named.List {
		answer.Brokers = append(answer.Brokers, endpoints.Broker{Node: b.Node, Host: b.Host, Port: b.Port})
	}
	c.mu.Lock()
	var changes []endpoints.Change
	if key == kmsg.Metadata.Int16() {
		changes = c.brokers.Teach(answer)
		if !c.taught { // another answer may name one broker of many
			c.taught = true
			close(c.answered)
		}
	} else {
		changes = c.brokers.Add(answer)
	}
	c.findClashes(answer.Brokers)
	c.tally.change(changes)
	c.mu.Unlock()
	c.note(changes)
}

// note logs changes of the map, and has them written.
func (c *cluster) note(changes []endpoints.Change) {
	if len(changes) == 0 {
		return
	}
	for _, change := range changes {
		c.logChange(change)
	}
	select {
	case c.changed <- struct{}{}:
	default: // one is waiting already
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
	b := change.Broker
	log := c.log.With(slog.Int(logkey.Node, int(b.Node)))
	switch change.Kind {
	case endpoints.Overflowed, endpoints.Evicted, endpoints.Unmapped:
		l := c.listeners[change.Listener]
		log = log.With(slog.String(logkey.Listener, l.conf.Name))
		fix := slog.String(logkey.Fix, "widen the listener's nodes range, or pin the node")
		switch change.Kind {
		case endpoints.Unmapped:
			log.Error("no slot is left for this node; it is left out of answers", fix)
		case endpoints.Evicted:
			log.Warn("node has not been seen for long and lost its slot to another", fix,
				slog.String(logkey.Bind, l.conf.bindAddress(change.Slot)))
		default:
			log.Warn("node is outside the listener's range and took a free slot; replicas of this proxy may differ", fix,
				slog.String(logkey.Bind, l.conf.bindAddress(change.Slot)))
		}
	case endpoints.Replaced:
		c.log.Error("another cluster answers; all that was known of the old one is forgotten",
			slog.String(logkey.Fix, "if this comes again, the bootstrap addresses lead to two clusters"))
	case endpoints.Gone:
		log.Info("broker's address has become another broker's")
	case endpoints.Moved:
		log.Info("broker has another address", slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))))
	default:
		log.Info("broker found", slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))))
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
	c.tally.change(changes)
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	c.note(changes)
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
