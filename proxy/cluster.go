package proxy

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/errlist"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// cluster is one Kafka cluster: who its brokers are, and how they are reached.
type cluster struct {
	proxy     *Proxy
	conf      *config.ClusterPlan
	log       *slog.Logger
	dialer    *upstream.Dialer
	via       *via.Dialer     // nil: brokers are dialled from here
	tls       *tlsconf.Client // nil: the brokers are spoken to in plaintext
	method    *auth.Method    // of logging in at its brokers; nil: the proxy does not
	listeners []*listener

	pulse  pulse
	asker  asker
	mover  mover
	offers offers
	tally  clusterTally

	mapLines    pacer // of changes of the map
	answerLines pacer // of what responses lost
	shown       atomic.Pointer[view]

	turn     atomic.Uint32 // which bootstrap broker comes first
	probes   probes
	answered chan struct{} // closed once the cluster has said who its brokers are
	state    *stateFile    // nil: the map is kept in memory only
	changed  chan struct{} // holds one when the map is to be written to state

	mu       sync.Mutex // guards the following
	brokers  *endpoints.Map
	clashing map[int32]endpoints.Broker // nodes, as they were, that a dial rule sends to another node's address
	taught   bool                       // answered is closed
	// confirmed says that a question of kproxy's own has told the cluster's id.
	confirmed bool
}

// newCluster reads the files that a cluster names. Its error joins what is wrong with
// them; the cluster is not whole then, and is good for closeVia only.
func newCluster(p *Proxy, conf *config.ClusterPlan) (*cluster, error) {
	c := &cluster{
		proxy:    p,
		conf:     conf,
		log:      p.log.With(slog.String(logkey.Cluster, conf.Name)),
		asker:    newAsker(),
		answered: make(chan struct{}),
		clashing: map[int32]endpoints.Broker{},
		changed:  make(chan struct{}, 1),
	}
	var err error
	if conf.SASL != nil {
		if c.method, err = auth.New(conf.SASL, conf.Parts.AWS); err != nil {
			return c, err
		}
	}
	c.dialer = &upstream.Dialer{
		Rules:       conf.Rules,
		Brokers:     conf.Admitted,
		Keepalive:   conf.Keepalive,
		Own:         p.isOwn,
		DialContext: p.conf.Dial,
		Source:      conf.Sources,
	}
	if err := c.goVia(); err != nil {
		return c, err
	}
	errs := []error{conf.CheckSecrets()}
	c.tls, err = newBrokerTLS(conf, c.log)
	errs = append(errs, err)
	for _, target := range conf.Targets {
		if hostport.IsLoopback(target.Host) {
			c.dialer.AllowLoopback()
		}
	}
	layouts := make([]endpoints.Layout, len(conf.Listeners))
	for i := range conf.Listeners {
		l, err := newListener(c, i, conf.Listeners[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.listeners = append(c.listeners, l)
		layouts[i] = l.conf.Layout()
	}
	if err := errlist.Join(errs...); err != nil {
		return c, err
	}
	c.brokers = endpoints.New(layouts, conf.ForgetAfter)
	c.brokers.Fixed = func(node int32) bool {
		_, ok := conf.Rules.Fixed(node)
		return ok
	}
	c.show()
	return c, nil
}

// answerOf is what a response says about the cluster.
func answerOf(named rewrite.Brokers) endpoints.Answer {
	answer := endpoints.Answer{ClusterID: named.ClusterID, At: time.Now()}
	for _, b := range named.List {
		answer.Brokers = append(answer.Brokers, endpoints.Broker{Node: b.Node, Host: b.Host, Port: b.Port})
	}
	return answer
}

// learn merges a response to a client into the map. from is the broker that gave
// it. Only Metadata can change where a known node is, and only as far as such a
// response is believed (see endpoints.Trust); other responses add unknown nodes.
func (c *cluster) learn(ctx context.Context, key int16, named rewrite.Brokers, from upstream.Target) {
	answer := answerOf(named)
	trust := c.mover.trust()
	c.mu.Lock()
	differs := c.brokers.Differs(answer)
	doubted := c.confirmed && c.brokers.IsOther(answer.ClusterID)
	c.mu.Unlock()
	if differs && trust == endpoints.Heard {
		c.sight(sighting{from, answer, key == kmsg.Metadata.Int16()})
	}
	if doubted {
		// What one client is told does not make the cluster another one. That
		// takes a question, or it stays as it is.
		isOther := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.brokers.IsOther(answer.ClusterID)
		}
		if c.settle(ctx, isOther); isOther() {
			answer.ClusterID = ""
		}
	}
	if key != kmsg.Metadata.Int16() {
		c.change(answer.Brokers, func(m *endpoints.Map) []endpoints.Change { return m.Add(answer) })
		return
	}
	c.teach(answer, trust)
}

// teach takes a Metadata response into the map.
func (c *cluster) teach(answer endpoints.Answer, trust endpoints.Trust) {
	c.change(answer.Brokers, func(m *endpoints.Map) []endpoints.Change {
		if !c.taught { // another response may name one broker of many
			c.taught = true
			close(c.answered)
		}
		c.confirmed = c.confirmed || trust == endpoints.Asked && answer.ClusterID != ""
		return m.Teach(answer, trust)
	})
}

// change changes the map, and follows up on what has changed. named is who the
// response names.
func (c *cluster) change(named []endpoints.Broker, apply func(*endpoints.Map) []endpoints.Change) {
	clashes := c.clashesAmong(named)
	c.mu.Lock()
	changes := apply(c.brokers)
	fresh := slices.DeleteFunc(clashes, func(b endpoints.Broker) bool { return c.clashing[b.Node] == b })
	for _, b := range fresh {
		c.clashing[b.Node] = b
	}
	if len(c.clashing) > endpoints.MaxNodes {
		maps.DeleteFunc(c.clashing, func(node int32, _ endpoints.Broker) bool {
			_, known := c.brokers.Node(node)
			return !known
		})
	}
	c.mu.Unlock()
	c.note(changes)
	for _, b := range fresh {
		c.mapLines.log(c.log, slog.LevelError, "a dial rule leads two nodes to one address; this one is left out of responses",
			slog.Int(logkey.Node, int(b.Node)),
			slog.String(logkey.Fix, "give the node a dial rule of its own"))
	}
}

// note follows up on changes of the map: they are counted and logged, the file is
// written, and sessions that have lost their broker end.
func (c *cluster) note(changes []endpoints.Change) {
	if len(changes) == 0 {
		return
	}
	c.tally.change(changes)
	c.show()
	for _, change := range changes {
		c.logChange(change)
	}
	select {
	case c.changed <- struct{}{}:
	default: // one is waiting already
	}
	if slices.ContainsFunc(changes, func(change endpoints.Change) bool { return leavesStrays(change.Kind) }) {
		c.drainStrays()
	}
}

// leavesStrays reports whether sessions may have lost their broker by a change.
func leavesStrays(kind endpoints.ChangeKind) bool {
	switch kind {
	case endpoints.Moved, endpoints.Gone, endpoints.Evicted, endpoints.Replaced:
		return true
	default:
		return false
	}
}

// view is what Health and Stats tell of a map. They take no lock under which work
// is done that a broker orders.
type view struct {
	brokers    int
	overflowed []Overflow
}

// show makes the view anew.
func (c *cluster) show() {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &view{brokers: c.brokers.Len()}
	for _, l := range c.listeners {
		if nodes := c.brokers.Overflowed(l.index); len(nodes) > 0 {
			v.overflowed = append(v.overflowed, Overflow{l.conf.Name, nodes})
		}
	}
	c.shown.Store(v)
}

// clashesAmong returns the nodes of one response that a dial rule would send where
// another of its nodes is. They stay unmapped as long as they stay where they
// are, also in responses that do not name the other node, which may be restarting:
// an endpoint reaches its own broker or none.
func (c *cluster) clashesAmong(brokers []endpoints.Broker) []endpoints.Broker {
	targets := make([]upstream.Target, len(brokers))
	for i, b := range brokers {
		targets[i] = targetOf(b)
	}
	var all []endpoints.Broker
	for _, i := range c.dialer.Rules.Conflicts(targets) {
		all = append(all, brokers[i])
	}
	return all
}

// clashes reports whether a node is unmapped because of a dial rule. The caller
// holds mu.
func (c *cluster) clashes(node int32) bool {
	was, ok := c.clashing[node]
	now, _ := c.brokers.Node(node)
	return ok && was == now
}

func (c *cluster) logChange(change endpoints.Change) {
	if !c.mapLines.admits(c.log) {
		return
	}
	b := change.Broker
	log := c.log.With(slog.Int(logkey.Node, int(b.Node)))
	switch change.Kind {
	case endpoints.Overflowed, endpoints.Evicted, endpoints.Unmapped:
		l := c.listeners[change.Listener]
		log = log.With(slog.String(logkey.Listener, l.conf.Name))
		fix := slog.String(logkey.Fix, "widen the listener's nodes range, or pin the node")
		switch change.Kind {
		case endpoints.Unmapped:
			log.Error("no slot is left for this node; it is left out of responses", fix)
		case endpoints.Evicted:
			log.Warn("node has no address, or has not been seen for long, and lost its slot to another", fix,
				slog.String(logkey.Bind, l.conf.BindAddress(change.Slot)))
		default:
			log.Warn("node is outside the listener's range and took a free slot; replicas of this proxy may differ", fix,
				slog.String(logkey.Bind, l.conf.BindAddress(change.Slot)))
		}
	case endpoints.Replaced:
		c.log.Error("another cluster answers; all that was known of the old one is forgotten",
			slog.String(logkey.Fix, "if this comes again, the bootstrap addresses lead to two clusters"))
	case endpoints.Contradicted:
		log.Error("responses to clients contradict each other; nodes move only when their address cannot be dialled",
			slog.String(logkey.Address, foreign.Line(hostport.Join(b.Host, b.Port))),
			slog.String(logkey.Fix, "give kproxy a login of its own (clusters."+c.conf.Name+".sasl), so that it can ask the brokers"))
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
	changes := c.brokers.Failed(b, time.Now())
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	c.note(changes)
	return now, len(changes) > 0
}

// isNodeDisputed reports whether a question is under way that may move the node of an
// endpoint.
func (c *cluster) isNodeDisputed(listener, slot int) bool {
	c.mu.Lock()
	b, ok := c.brokers.NodeAt(listener, slot)
	c.mu.Unlock()
	return ok && c.mover.doubts(b)
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
