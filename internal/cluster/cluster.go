package cluster

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/errlist"
	"kproxy/internal/hostport"
	"kproxy/internal/logline"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
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

	conf   *config.ClusterPlan
	log    *slog.Logger
	dialer *upstream.Dialer
	Via    *via.Dialer     // nil: brokers are dialled directly
	TLS    *tlsconf.Client // nil: connections to brokers are in plaintext
	Method *auth.Method    // kproxy's own login at the brokers; nil: there is none

	contact  lastContact
	asker    asker
	mover    mover
	versions versionsCache
	totals   totals

	mapLines logline.Pacer // of changes of the map
	shown    atomic.Pointer[view]

	questions atomic.Int64 // numbers kproxy's own Metadata requests, in the order in which they are sent

	turn     atomic.Uint32 // the bootstrap broker to try first
	probes   probes
	answered chan struct{} // closed at the first Metadata response
	state    *stateFile    // nil: the map is kept in memory only
	changed  chan struct{} // holds one element when the map must be written to state

	mu       sync.Mutex // guards the following
	brokers  *endpoints.Map
	clashing map[int32]endpoints.Broker // nodes, as they were, that a dial rule sends to another node's address
	taught   bool                       // answered is closed
	// lastAnswered is the number of the newest question whose response is in the map.
	lastAnswered int64
	// confirmed is set when the response to a request of kproxy's own has the cluster's id.
	confirmed bool
}

// New returns a Cluster. It reads the files that conf names. The error joins all mistakes
// in them. After an error the Cluster is not complete: the caller can only Close it.
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

// view is the part of the map that Health and Stats report. They read it without mu, because
// a broker decides how long mu is held.
type view struct {
	brokers    int
	overflowed []Overflow
}

// show renews the view.
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

// clashesAmong returns the nodes of one response that a dial rule would send to the address
// of another of its nodes. They are unmapped until their address changes. That includes
// responses without the other node, which may be restarting: an endpoint reaches its own
// broker or none.
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

// NodeAt returns the node of an endpoint, if it is known.
func (c *Cluster) NodeAt(listener, slot int) (endpoints.Broker, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.brokers.NodeAt(listener, slot)
	return b, ok && !c.clashes(b.Node)
}

// failed notes that a broker could not be reached. If a response has given another address
// since, failed returns the broker there.
func (c *Cluster) failed(b endpoints.Broker) (now endpoints.Broker, moved bool) {
	c.mu.Lock()
	changes := c.brokers.Failed(b, time.Now())
	now, _ = c.brokers.Node(b.Node)
	c.mu.Unlock()
	c.note(changes)
	return now, len(changes) > 0
}

// IsNodeDisputed reports whether a request of kproxy's own is in flight that may move the
// node of an endpoint.
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
	Dialled string // host:port; "" if a dial rule gives no valid address
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
func (c *Cluster) AddressOf(b endpoints.Broker) string { return c.dialer.Address(targetOf(b)) }

// Known is closed at the first Metadata response.
func (c *Cluster) Known() <-chan struct{} { return c.answered }

func targetOf(b endpoints.Broker) upstream.Target {
	return upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}
}
