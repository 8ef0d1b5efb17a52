package cluster

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
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
	"kproxy/internal/logline"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// Options is the code that a cluster calls.
type Options struct {
	// own reports whether this process listens on an address. Brokers there are refused.
	Own func(netip.AddrPort) bool
	// dial opens a connection to an address that the dial rules chose; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// dialed is called after each attempt to reach a broker.
	Dialed func(node int32, address string, err error)
	// background runs f in a goroutine under a context that ends with the proxy. It returns
	// false, and does not run f, before the start and after the end.
	Background func(f func(ctx context.Context)) bool
	// strayed is called when sessions may have lost their broker: a node moved or is gone.
	Strayed func()
}

// Cluster is one Kafka cluster: who its brokers are, and how they are reached.
type Cluster struct {
	Options

	conf   *config.ClusterPlan
	log    *slog.Logger
	dialer *upstream.Dialer
	Via    *via.Dialer     // nil: brokers are dialled from here
	TLS    *tlsconf.Client // nil: the brokers are spoken to in plaintext
	Method *auth.Method    // of logging in at its brokers; nil: the proxy does not

	pulse  pulse
	asker  asker
	mover  mover
	offers offers
	tally  clusterTally

	mapLines logline.Pacer // of changes of the map
	shown    atomic.Pointer[view]

	questions atomic.Int64 // numbers questions about the brokers, in the order in which they are sent

	turn     atomic.Uint32 // which bootstrap broker comes first
	probes   probes
	answered chan struct{} // closed once the cluster has said who its brokers are
	state    *stateFile    // nil: the map is kept in memory only
	changed  chan struct{} // holds one when the map is to be written to state

	mu       sync.Mutex // guards the following
	brokers  *endpoints.Map
	clashing map[int32]endpoints.Broker // nodes, as they were, that a dial rule sends to another node's address
	taught   bool                       // answered is closed
	// lastAnswered is the number of the newest question whose response is in the map.
	lastAnswered int64
	// confirmed says that a question of kproxy's own has told the cluster's id.
	confirmed bool
}

// New reads the files that a cluster names. Its error joins what is wrong with
// them; the cluster is not whole then, and is good for closeVia only.
func New(conf *config.ClusterPlan, log *slog.Logger, o Options) (*Cluster, error) {
	c := &Cluster{
		Options: o,

		conf:     conf,
		log:      log,
		asker:    newAsker(),
		answered: make(chan struct{}),
		clashing: map[int32]endpoints.Broker{},
		changed:  make(chan struct{}, 1),
	}
	var err error
	if conf.SASL != nil {
		if c.Method, err = auth.New(conf.SASL, conf.Parts.AWS); err != nil {
			return c, err
		}
	}
	c.dialer = &upstream.Dialer{
		Rules:       conf.Rules,
		Brokers:     conf.Admitted,
		Keepalive:   conf.Keepalive,
		Own:         o.Own,
		DialContext: o.Dial,
		Source:      conf.Sources,
	}
	if err := c.goVia(); err != nil {
		return c, err
	}
	errs := []error{conf.CheckSecrets()}
	c.TLS, err = newBrokerTLS(conf, c.log)
	errs = append(errs, err)
	for _, target := range conf.Targets {
		if hostport.IsLoopback(target.Host) {
			c.dialer.AllowLoopback()
		}
	}
	layouts := make([]endpoints.Layout, len(conf.Listeners))
	for i, l := range conf.Listeners {
		layouts[i] = l.Layout()
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

// Learn merges a response to a client into the map. from is the broker that gave
// it. Only Metadata can change where a known node is, and only as far as such a
// response is believed (see endpoints.Trust); other responses add unknown nodes.
func (c *Cluster) Learn(ctx context.Context, key int16, named rewrite.Brokers, from upstream.Target) {
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
		if c.Settle(ctx, isOther); isOther() {
			answer.ClusterID = ""
		}
	}
	if key != kmsg.Metadata.Int16() {
		c.change(answer.Brokers, func(m *endpoints.Map) []endpoints.Change { return m.Add(answer) })
		return
	}
	c.teach(answer, trust)
}

// teachAsked takes the response to a question of kproxy's own into the map. question is its
// number. Under load an older question may be answered after a newer one: its response has
// addresses that are no longer true, and is ignored.
func (c *Cluster) teachAsked(answer endpoints.Answer, question int64) {
	c.mu.Lock()
	stale := question < c.lastAnswered
	c.lastAnswered = max(c.lastAnswered, question)
	c.mu.Unlock()
	if !stale {
		c.teach(answer, endpoints.Asked)
	}
}

// teach takes a Metadata response into the map.
func (c *Cluster) teach(answer endpoints.Answer, trust endpoints.Trust) {
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
func (c *Cluster) change(named []endpoints.Broker, apply func(*endpoints.Map) []endpoints.Change) {
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
		c.mapLines.Log(c.log, slog.LevelError, "a dial rule leads two nodes to one address; this one is left out of responses",
			slog.Int(logkey.Node, int(b.Node)),
			slog.String(logkey.Fix, "give the node a dial rule of its own"))
	}
}

// note follows up on changes of the map: they are counted and logged, the file is
// written, and sessions that have lost their broker end.
func (c *Cluster) note(changes []endpoints.Change) {
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
		c.Strayed()
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
func (c *Cluster) show() {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &view{brokers: c.brokers.Len()}
	for i, l := range c.conf.Listeners {
		if nodes := c.brokers.Overflowed(i); len(nodes) > 0 {
			v.overflowed = append(v.overflowed, Overflow{l.Name, nodes})
		}
	}
	c.shown.Store(v)
}

// clashesAmong returns the nodes of one response that a dial rule would send where
// another of its nodes is. They stay unmapped as long as they stay where they
// are, also in responses that do not name the other node, which may be restarting:
// an endpoint reaches its own broker or none.
func (c *Cluster) clashesAmong(brokers []endpoints.Broker) []endpoints.Broker {
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
func (c *Cluster) clashes(node int32) bool {
	was, ok := c.clashing[node]
	now, _ := c.brokers.Node(node)
	return ok && was == now
}

func (c *Cluster) logChange(change endpoints.Change) {
	if !c.mapLines.Admits(c.log) {
		return
	}
	b := change.Broker
	log := c.log.With(slog.Int(logkey.Node, int(b.Node)))
	switch change.Kind {
	case endpoints.Overflowed, endpoints.Evicted, endpoints.Unmapped:
		l := c.conf.Listeners[change.Listener]
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

// NodeAt returns the node that an endpoint belongs to, if it is known.
func (c *Cluster) NodeAt(listener, slot int) (endpoints.Broker, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.brokers.NodeAt(listener, slot)
	return b, ok && !c.clashes(b.Node)
}

// failed says that a broker could not be reached, and returns where it may be
// now instead.
func (c *Cluster) failed(b endpoints.Broker) (now endpoints.Broker, moved bool) {
	c.mu.Lock()
	changes := c.brokers.Failed(b, time.Now())
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	c.note(changes)
	return now, len(changes) > 0
}

// IsNodeDisputed reports whether a question is under way that may move the node of an
// endpoint.
func (c *Cluster) IsNodeDisputed(listener, slot int) bool {
	c.mu.Lock()
	b, ok := c.brokers.NodeAt(listener, slot)
	c.mu.Unlock()
	return ok && c.mover.doubts(b)
}

// Advertise gives each broker of a response its address on a listener. A broker that has no
// slot there, or that a dial rule sends to another broker's address, is marked to be dropped.
func (c *Cluster) Advertise(listener int, list []rewrite.Broker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		b := &list[i]
		slot, ok := c.brokers.Slot(listener, b.Node)
		if !ok || c.clashes(b.Node) {
			b.Drop = true
			continue
		}
		b.Host, b.Port = c.conf.Listeners[listener].Advertised(slot)
	}
}

// Place is a node and its slot of a listener.
type Place struct {
	Broker  endpoints.Broker
	Slot    int
	Dialled string // host:port; "" where a dial rule makes no address of it
}

// Places returns the known nodes that have a slot of a listener, by id.
func (c *Cluster) Places(listener int) []Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Place
	for _, b := range c.brokers.Nodes() {
		slot, ok := c.brokers.Slot(listener, b.Node)
		if !ok || c.clashes(b.Node) {
			continue
		}
		dialled, _, _ := c.dialer.Rules.Resolve(targetOf(b))
		all = append(all, Place{b, slot, dialled})
	}
	return all
}

// ClusterID returns the id that the cluster has given itself; "": none yet.
func (c *Cluster) ClusterID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.ClusterID()
}

// Nodes returns the known brokers by id.
func (c *Cluster) Nodes() []endpoints.Broker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.Nodes()
}

// AddressOf returns the address that is dialled for a broker.
func (c *Cluster) AddressOf(b endpoints.Broker) string { return c.dialer.Address(targetOf(b)) }

// Known is closed once the cluster has said who its brokers are.
func (c *Cluster) Known() <-chan struct{} { return c.answered }

func targetOf(b endpoints.Broker) upstream.Target {
	return upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}
}
