package cluster

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/logline"
	"kproxy/internal/upstream"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// Options are the functions that a Cluster calls.
type Options struct {
	// Own reports whether this process listens on an address. Brokers there are refused.
	Own func(netip.AddrPort) bool
	// Dial opens a connection to an address that the dial rules chose; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Dialed is called after each attempt to reach a broker.
	Dialed func(node int32, address string, err error)
	// Background runs f in a goroutine under a context that ends with the proxy. It returns
	// false, and does not run f, before the start and after the end.
	Background func(f func(ctx context.Context)) bool
	// Strayed is called when sessions may have lost their broker: a node moved or is gone.
	Strayed func()
}

// Cluster is one Kafka cluster: its brokers, and the way to reach them.
type Cluster struct {
	Options

	name string
	log  *slog.Logger
	way  atomic.Pointer[Way]

	contact  lastContact
	asker    asker
	mover    mover
	versions versionsCache
	totals   totals

	mapLines logline.Pacer // of changes of the map
	shown    atomic.Pointer[view]

	replaced  atomic.Int64
	questions atomic.Int64 // numbers kproxy's own Metadata requests, in the order in which they are sent

	turn     atomic.Uint32 // the bootstrap broker to try first
	probes   probes
	answered chan struct{} // closed by teaching, after the first Metadata response
	teaching sync.Once
	state    *stateFile    // nil: the map is kept in memory only
	changed  chan struct{} // holds one element when the map must be written to state

	mu        sync.Mutex             // guards the following
	listeners []*config.ListenerPlan // of the current configuration; brokers numbers them as they stand here
	brokers   *endpoints.Map
	clashing  map[int32]endpoints.Broker // nodes, as they were, that a dial rule sends to another node's address
	taught    bool                       // answered is closed
	// lastAnswered is the number of the newest question whose response is in the map.
	lastAnswered int64
	// confirmed is set when the response to a request of kproxy's own has the cluster's id.
	confirmed bool
	identity  identity
}

// New returns a Cluster. It reads the files that conf names. The error joins all mistakes
// in them.
func New(conf *config.ClusterPlan, log *slog.Logger, o Options) (*Cluster, error) {
	c := &Cluster{
		Options: o,

		name:      conf.Name,
		log:       log,
		listeners: conf.Listeners,
		asker:     newAsker(),
		answered:  make(chan struct{}),
		clashing:  map[int32]endpoints.Broker{},
		identity:  identity{said: map[upstream.Target]saying{}},
		changed:   make(chan struct{}, 1),
	}
	way, err := c.newWay(conf, nil)
	if err != nil {
		return nil, err
	}
	c.way.Store(way)
	c.brokers = endpoints.New(layoutsOf(conf.Listeners), conf.ForgetAfter)
	c.brokers.Fixed = func(node int32) bool {
		_, ok := c.Way().conf.Rules.Fixed(node)
		return ok
	}
	c.show()
	return c, nil
}

// view is the part of the map that Health and Stats report. They read it without mu, because
// a broker decides how long mu is held.
type view struct {
	brokers    int
	overflowed []Overflow
	unmapped   []Overflow
	strangers  []sighted
}

// show renews the view.
func (c *Cluster) show() {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &view{brokers: c.brokers.Len(), strangers: c.strangers()}
	for i, l := range c.listeners {
		if nodes := c.brokers.Overflowed(i); len(nodes) > 0 {
			v.overflowed = append(v.overflowed, Overflow{l.Name, nodes})
		}
		if nodes := c.brokers.Unmapped(i); len(nodes) > 0 {
			v.unmapped = append(v.unmapped, Overflow{l.Name, nodes})
		}
	}
	c.shown.Store(v)
}

// clashesAmong returns the nodes of one response that a dial rule would send to the address
// of another of its nodes. They are unmapped until their address changes. That includes
// responses without the other node, which may be restarting: an endpoint reaches its own
// broker or none.
func (c *Cluster) clashesAmong(brokers []endpoints.Broker) []endpoints.Broker {
	var all []endpoints.Broker
	for _, i := range c.Way().conf.Rules.Conflicts(targetsOf(brokers)) {
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

// NodeAt returns the node of an endpoint, if it is known.
func (c *Cluster) NodeAt(listener string, slot int) (endpoints.Broker, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.nodeAt(listener, slot)
	return b, ok && !c.clashes(b.Node)
}

// nodeAt returns the node that has a slot of a listener. The caller holds mu.
func (c *Cluster) nodeAt(listener string, slot int) (b endpoints.Broker, ok bool) {
	if i := c.index(listener); i >= 0 {
		b, ok = c.brokers.NodeAt(i, slot)
	}
	return b, ok
}

// index returns a listener's place in the map; -1 for one that the configuration does not have
// any more. The caller holds mu.
func (c *Cluster) index(listener string) int {
	return slices.IndexFunc(c.listeners, func(l *config.ListenerPlan) bool { return l.Name == listener })
}

// failed notes that a broker could not be reached. If a response has given another address
// since, failed returns the broker there.
func (c *Cluster) failed(b endpoints.Broker) (now endpoints.Broker, moved bool) {
	c.mu.Lock()
	changes := c.brokers.Failed(b, time.Now())
	listeners := c.listeners
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	c.note(changes, listeners)
	return now, len(changes) > 0
}

// IsNodeDisputed reports whether a request of kproxy's own is in flight that may move the
// node of an endpoint.
func (c *Cluster) IsNodeDisputed(listener string, slot int) bool {
	c.mu.Lock()
	b, ok := c.nodeAt(listener, slot)
	c.mu.Unlock()
	return ok && c.mover.doubts(b)
}

// Advertise gives each broker of a response its address on a listener. A broker that has no
// slot there, or that a dial rule sends to another broker's address, is marked to be dropped.
func (c *Cluster) Advertise(listener string, list []rewrite.Broker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.index(listener)
	for i := range list {
		b := &list[i]
		slot, ok := 0, at >= 0
		if ok {
			slot, ok = c.brokers.Slot(at, b.Node)
		}
		if !ok || c.clashes(b.Node) {
			b.Drop = true
			continue
		}
		b.Host, b.Port = c.listeners[at].Advertised(slot)
	}
}

// Place is a node and its slot of a listener.
type Place struct {
	Broker           endpoints.Broker
	Bind, Advertised string // host:port of the endpoint
	Dialled          string // host:port; "" if a dial rule gives no valid address
}

// Places returns the known nodes that have a slot of a listener, by id.
func (c *Cluster) Places(listener string) []Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.index(listener)
	if at < 0 {
		return nil
	}
	var all []Place
	for _, b := range c.brokers.Nodes() {
		slot, ok := c.brokers.Slot(at, b.Node)
		if !ok || c.clashes(b.Node) {
			continue
		}
		dialled, _, _ := c.Way().conf.Rules.Resolve(targetOf(b))
		host, port := c.listeners[at].Advertised(slot)
		all = append(all, Place{b, c.listeners[at].BindAddress(slot), hostport.Join(host, port), dialled})
	}
	return all
}

// Node returns a node, if it is known.
func (c *Cluster) Node(id int32) (endpoints.Broker, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.brokers.Node(id)
	return b, ok && !c.clashes(id)
}

// Replaced counts how often the map was forgotten because another cluster has responded.
func (c *Cluster) Replaced() int64 { return c.replaced.Load() }

// ClusterID returns the cluster's id; "": no response has had it yet.
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

// AddressOf returns the address at which a broker is dialled.
func (c *Cluster) AddressOf(b endpoints.Broker) string { return c.Way().dialer.Address(targetOf(b)) }

// Known is closed at the first Metadata response.
func (c *Cluster) Known() <-chan struct{} { return c.answered }

func targetOf(b endpoints.Broker) upstream.Target {
	return upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}
}

func targetsOf(brokers []endpoints.Broker) []upstream.Target {
	targets := make([]upstream.Target, len(brokers))
	for i, b := range brokers {
		targets[i] = targetOf(b)
	}
	return targets
}
