package live

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"kproxy/internal/connect"
	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
	"kproxy/proxy/config"
)

// listenerCheck is the check of one listener of a configuration.
type listenerCheck struct {
	*clusterCheck
	findings

	conf       *config.ListenerPlan
	slots      map[int32]int
	overflowed map[int32]bool      // nodes whose slot does not follow from the configuration
	own        map[string]struct{} // the advertised addresses of all slots; nil: by server name
}

// run checks the listener from the inside to the outside.
func (l *listenerCheck) run(ctx context.Context) {
	l.advertisedSlots()
	l.fit()
	l.cover()
	w := &walk{check: l.check, cluster: l.known(), of: l.wayIn(), isOwn: l.isOwn}
	w.run(ctx, l.Skip != nil && l.Skip(l.conf.Key))
	l.all = append(l.all, w.findings.all...)
}

// wayIn is the listener as its clients reach it.
func (l *listenerCheck) wayIn() *Listener {
	of := &Listener{
		Key: l.conf.Key, BootstrapKey: l.bootstrapKey(), NodesKey: l.nodesKey(),
		Bind: l.conf.Bind, Advertised: l.conf.BootstrapAddress(),
		TLS: l.conf.TLS != nil, Login: l.conf.Login != nil,
		Refuses:   len(l.conf.Allow)+len(l.conf.Deny)+len(l.conf.ProxyProtocol.From) > 0 || l.conf.Limits != config.ListenerLimits{},
		Endpoints: map[int32]Endpoint{},
	}
	for node, slot := range l.slots {
		of.Endpoints[node] = Endpoint{
			Bind: l.conf.BindAddress(slot), Advertised: hostport.Join(l.conf.Advertised(slot)),
			isLoose:   l.overflowed[node],
			isUntried: !slices.ContainsFunc(l.tried.Brokers, func(b connect.Broker) bool { return b.Node == node }),
		}
	}
	return of
}

// advertisedSlots lists the addresses that clients may hear.
func (l *listenerCheck) advertisedSlots() {
	if l.conf.Nodes.SNI != "" {
		return
	}
	l.own = make(map[string]struct{}, l.conf.Slots())
	for slot := range l.conf.Slots() {
		l.own[hostport.Join(l.conf.Advertised(slot))] = struct{}{}
	}
}

// isOwn reports whether an address is that of some slot of the listener.
func (l *listenerCheck) isOwn(address string) bool {
	if l.own != nil {
		_, ok := l.own[hostport.CanonicalAddress(address)]
		return ok
	}
	host, port, err := hostport.Parse(address)
	if err != nil {
		return false
	}
	node, ok := l.conf.Names.Find(hostport.Canonical(host))
	if !ok {
		return false
	}
	_, want := l.conf.Advertised(int(node))
	return port == want
}

// nodesKey is the key of the nodes' advertised addresses.
func (l *listenerCheck) nodesKey() string {
	key := l.conf.Key + ".nodes."
	switch n := &l.conf.Nodes; {
	case n.SNI != "":
		return key + "sni"
	case n.AdvertiseAddresses != "":
		return key + "advertise_addresses"
	case n.Addresses != "":
		return key + "addresses"
	case n.AdvertisePorts != config.Range{}:
		return key + "advertise_ports"
	default:
		return key + "ports"
	}
}

// rangeKey is the key of the range of nodes, and the range.
func (l *listenerCheck) rangeKey() (key string, has config.Range) {
	if l.conf.Nodes.Addresses != "" {
		return l.conf.Key + ".nodes.slots", l.conf.Nodes.Slots
	}
	return l.conf.Key + ".nodes.ports", l.conf.Nodes.Ports
}

// bootstrapKey is the key of the advertised bootstrap address.
func (l *listenerCheck) bootstrapKey() string {
	if l.conf.Advertise == "" {
		return l.conf.Key + ".bind"
	}
	return l.conf.Key + ".advertise"
}

// fit finds nodes for which the listener's range has no slot of their own. It places the nodes
// as serve does.
func (l *listenerCheck) fit() {
	l.slots, l.overflowed = map[int32]int{}, map[int32]bool{}
	key, has := l.rangeKey()
	if len(l.named) == 0 {
		l.note(l.conf.Key, NotChecked, "whether the brokers' ids fit nodes: the brokers are not known", "")
		return
	}
	m := endpoints.New([]endpoints.Layout{l.conf.Layout()}, time.Hour)
	response := endpoints.Response{ClusterID: l.id, At: time.Now()}
	for _, b := range l.named {
		response.Brokers = append(response.Brokers, endpoints.Broker{Node: b.Node, Host: b.Host, Port: b.Port})
	}
	m.Teach(response, endpoints.Asked)
	for _, node := range m.Overflowed(0) {
		l.overflowed[node] = true
	}
	fixed := fmt.Sprintf("widen the range, set first_node, or pin each node; the range %s begins with node %d", has, l.conf.Nodes.FirstNode)
	good := 0
	told := map[int32]bool{}
	for _, b := range l.named {
		if b.Node < 0 || told[b.Node] {
			continue
		}
		told[b.Node] = true
		slot, ok := m.Slot(0, b.Node)
		f := Finding{Level: Fault, Key: key, Node: &b.Node, Fix: fixed}
		switch {
		case !ok:
			f.Kind, f.Says = NoSlot, fmt.Sprintf("node %d has no endpoint: the range %s is full, and clients do not get this node", b.Node, has)
			l.add(f)
			continue
		case l.overflowed[b.Node]:
			f.Kind = Outside
			f.Says = fmt.Sprintf("node %d is outside the range %s: it takes a free endpoint, which may be another one at each replica and after a restart", b.Node, has)
			l.add(f)
		default:
			good++
		}
		l.slots[b.Node] = slot
	}
	if good == len(told) {
		l.ok(l.conf.Key+".nodes", Fits, map[bool]string{true: "the node has", false: fmt.Sprintf("each of %d nodes has", good)}[good == 1]+" the endpoint that the configuration gives it")
	}
}

// cover finds advertised names of real nodes that no certificate is for.
func (l *listenerCheck) cover() {
	if l.conf.TLS == nil {
		return
	}
	key := l.conf.Key + ".tls.certs"
	server, err := tlsconf.NewServer(l.conf.ServerConfig(l.clusterCheck.conf.Name), tlsconf.Events{})
	if err != nil { // proxy.New has read them
		l.note(key, NotChecked, "the files have changed: "+err.Error(), "")
		return
	}
	hosts := l.hosts(l.named)
	missing := server.Uncovered(hosts)
	if len(missing) == 0 {
		l.ok(key, Covered, "the certificates are for "+counted(len(hosts), "advertised name"))
		return
	}
	l.fault(key, Uncovered, "no certificate is for "+few(missing)+", as advertised", "have one issued with these among its names (subjectAltName)")
}

// hosts returns the advertised hosts of bootstrap and of nodes, each once.
func (l *listenerCheck) hosts(nodes []connect.Broker) []string {
	host, _ := l.conf.AdvertisedBootstrap()
	hosts := map[string]bool{host: true}
	for _, b := range nodes {
		if slot, ok := l.slots[b.Node]; ok {
			host, _ := l.conf.Advertised(slot)
			hosts[host] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}
