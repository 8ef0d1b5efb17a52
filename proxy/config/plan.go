package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"kproxy/internal/admission"
	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/sharedsocket"
	"kproxy/internal/upstream"
)

// Plan is a Config that has passed every check. Its defaults are filled in, and its
// addresses, rules and networks are parsed. It does not change.
type Plan struct {
	Config   Config
	Clusters []*ClusterPlan
}

// ClusterPlan is one cluster of a Plan.
type ClusterPlan struct {
	*Cluster
	Key       string // in the configuration file: clusters.NAME
	Parts     Parts
	Rules     upstream.Rules
	Admitted  upstream.DialPolicy // learned addresses that may be dialled
	Targets   []upstream.Target   // of Bootstrap
	Sources   []netip.Addr        // of Source
	Listeners []*ListenerPlan
}

// ListenerPlan is one listener of a Plan. Slots count from 0.
type ListenerPlan struct {
	*Listener
	Key       string // in the configuration file: clusters.NAME.listeners.NAME
	Policy    *Policy
	Networks  admission.Networks
	Balancers admission.Balancers
	Names     NodeNames // of Nodes.SNI

	bind, bootstrap address   // where the bootstrap endpoint listens, and its advertised address
	binds           addresses // where the nodes' endpoints listen
	advertised      addresses // their advertised addresses
}

// Compile checks c and returns its Plan, which shares the lists and sections of c: c must not
// change afterwards. It opens no socket and asks no broker; see
// CheckFiles for the files that c names. The error joins an [*Error] for each mistake.
func (c *Config) Compile() (*Plan, error) {
	p := &Plan{Config: c.withDefaults()}
	v := validator{maxConnections: c.MaxConnections, parts: c.Parts}
	v.limits(c)
	if len(c.Clusters) == 0 {
		v.add("clusters", "there is no cluster", "add one with its bootstrap addresses and a listener")
	}
	seen := make(map[string]bool)
	for i := range p.Config.Clusters {
		cluster := &ClusterPlan{Cluster: &p.Config.Clusters[i], Parts: c.Parts}
		cluster.Key = "clusters." + cluster.Name
		v.name(cluster.Key, cluster.Name, seen)
		v.cluster(cluster)
		p.Clusters = append(p.Clusters, cluster)
	}
	v.sharedNames()
	v.admin(c.AdminBind)
	if c.ReusePort && !sharedsocket.CanReusePort {
		v.add("reuse_port", "sockets cannot share an address on this system", "leave it out")
	}
	v.loops()
	if err := errors.Join(v.errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// Validate returns the error of Compile.
func (c *Config) Validate() error {
	_, err := c.Compile()
	return err
}

// address is a host:port that has been parsed.
type address struct {
	host string
	port int32
}

// parse returns a configured host:port.
func parse(text string) (address, error) {
	host, port, err := hostport.Parse(text)
	return address{host, port}, err
}

// canonical returns a with its host in canonical form: an IPv6 host without brackets, as in
// Kafka's responses, and a name without its root dot, with which Java's clients send no
// server name.
func (a address) canonical() address { return address{hostport.Canonical(a.host), a.port} }

// bound returns a in the form in which two addresses that occupy one socket are equal.
func (a address) bound() address { return address{hostport.Bound(a.host), a.port} }

func (a address) String() string { return hostport.Join(a.host, a.port) }

// addresses are those of a listener's slots: consecutive ports of one host, or a list.
type addresses struct {
	first address
	list  []address // nil: by first
}

func (a *addresses) at(slot int) address {
	if a.list != nil {
		return a.list[slot]
	}
	return address{a.first.host, a.first.port + int32(slot)}
}

// newListenerPlan parses the addresses of a listener.
func newListenerPlan(key string, l *Listener) (*ListenerPlan, error) {
	p := &ListenerPlan{Listener: l, Key: key}
	var err error
	if p.bind, err = parse(l.Bind); err != nil {
		return nil, err
	}
	p.bootstrap = p.bind.canonical()
	if l.Advertise != "" {
		if p.bootstrap, err = parse(l.Advertise); err != nil {
			return nil, err
		}
		p.bootstrap = p.bootstrap.canonical()
	}
	switch n := &l.Nodes; {
	case n.SNI != "":
		p.Names, err = newNodeNames(n.SNI)
	case n.Addresses != "":
		err = p.listAddresses()
	default:
		p.binds.first = address{p.bind.host, int32(n.Ports.First)}
		p.advertised.first = address{p.bootstrap.host, int32(n.Ports.First)}
		if n.AdvertisePorts != (Range{}) {
			p.advertised.first.port = int32(n.AdvertisePorts.First)
		}
	}
	return p, err
}

// listAddresses parses Nodes.Addresses, and Nodes.AdvertiseAddresses, for each slot.
func (p *ListenerPlan) listAddresses() error {
	n := &p.Nodes
	for slot := range n.Slots.Len() {
		at, err := parse(n.expand(n.Addresses, slot))
		if err != nil {
			return err
		}
		p.binds.list = append(p.binds.list, at)
		if n.AdvertiseAddresses != "" {
			if at, err = parse(n.expand(n.AdvertiseAddresses, slot)); err != nil {
				return err
			}
		}
		p.advertised.list = append(p.advertised.list, at.canonical())
	}
	return nil
}

// Slots returns how many addresses the nodes share: 0 with Nodes.SNI.
func (p *ListenerPlan) Slots() int {
	return p.Nodes.numbers().Len()
}

// BindAddress returns the host:port on which the endpoint of a slot listens.
func (p *ListenerPlan) BindAddress(slot int) string {
	if p.Nodes.SNI != "" {
		return p.Bind
	}
	return p.binds.at(slot).String()
}

// BoundForm returns a host:port in the form of ListenerPlan.SharedBind; "" if it is none.
func BoundForm(address string) string {
	at, err := parse(address)
	if err != nil {
		return ""
	}
	return at.bound().String()
}

// SharedBind returns the address of Bind in a form that is equal for all listeners on one
// socket.
func (p *ListenerPlan) SharedBind() string { return p.bind.bound().String() }

// BoundAddress returns BindAddress of a slot in the form of SharedBind.
func (p *ListenerPlan) BoundAddress(slot int) string { return p.binds.at(slot).bound().String() }

// Advertised returns the advertised address of the node that has a slot, its host in
// canonical form. With Nodes.SNI the slot is the node's id.
func (p *ListenerPlan) Advertised(slot int) (host string, port int32) {
	if p.Nodes.SNI != "" {
		return p.Names.Of(int32(slot)), p.Names.port
	}
	at := p.advertised.at(slot)
	return at.host, at.port
}

// AdvertisedBootstrap returns the address from which clients bootstrap, its host in
// canonical form.
func (p *ListenerPlan) AdvertisedBootstrap() (host string, port int32) {
	return p.bootstrap.host, p.bootstrap.port
}

// BootstrapAddress returns AdvertisedBootstrap as host:port.
func (p *ListenerPlan) BootstrapAddress() string {
	return hostport.Join(p.AdvertisedBootstrap())
}

// Layout returns the listener's slots as package endpoints takes them. With Nodes.SNI every
// node has a slot: its id.
func (p *ListenerPlan) Layout() endpoints.Layout {
	slots := p.Slots()
	if p.Nodes.SNI != "" {
		slots = math.MaxInt32
	}
	return endpoints.Layout{Name: p.Name, Slots: slots, FirstNode: p.Nodes.FirstNode, Pinned: p.pinnedSlots()}
}

// pinnedSlots returns the slots of Nodes.Pin.
func (p *ListenerPlan) pinnedSlots() map[int32]int {
	first := p.Nodes.numbers().First
	slots := make(map[int32]int, len(p.Nodes.Pin))
	for node, number := range p.Nodes.Pin {
		slots[node] = number - first
	}
	return slots
}

// compileListener checks a listener, and adds its plan to the cluster's.
func (v *validator) compileListener(c *ClusterPlan, l *Listener, seen map[string]bool) {
	key := c.Key + ".listeners." + l.Name
	v.name(key, l.Name, seen)
	p, ok := v.listener(key, l)
	if !ok {
		return
	}
	var err, other error
	p.Networks, err = admission.ParseNetworks(l.Allow, l.Deny)
	p.Balancers, other = admission.NewBalancers(l.ProxyProtocol.From, l.ProxyProtocol.Mode != HeaderOptional)
	if err := errors.Join(err, other); err != nil {
		v.add(key, fmt.Sprintf("its networks: %v", err), "correct them") // networks finds each of them before
	}
	p.Policy = l.APIs.newPolicy(c.SASL != nil)
	c.Listeners = append(c.Listeners, p)
}
