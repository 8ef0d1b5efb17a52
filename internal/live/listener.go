package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"kproxy/internal/connect"
	"kproxy/internal/doctor"
	"kproxy/internal/endpoints"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
	"kproxy/proxy/config"
)

// listenerCheck is the check of one listener.
type listenerCheck struct {
	*clusterCheck
	findings

	conf       *config.ListenerPlan
	client     *Client // nil: there is none
	bootstrap  string  // advertised, host:port
	slots      map[int32]int
	overflowed map[int32]bool      // nodes whose slot does not follow from the configuration
	own        map[string]struct{} // the advertised addresses of all slots; nil: by server name
}

// run checks the listener from the inside to the outside.
func (l *listenerCheck) run(ctx context.Context) {
	l.bootstrap = l.conf.BootstrapAddress()
	l.client = l.clientOf(l.bootstrap)
	l.advertisedSlots()
	l.fit()
	l.cover()
	unresolved := l.resolve(ctx)
	if l.Skip != nil && l.Skip(l.conf.Key) {
		l.note(l.conf.Key, NotChecked, "the kproxy that runs does not have this listener as the configuration has it: the way of clients was not tried", "")
		return
	}
	l.walk(ctx, unresolved)
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

// advertised is the address that clients get for a node, host:port; "": it has no slot.
func (l *listenerCheck) advertised(node int32) string {
	slot, ok := l.slots[node]
	if !ok {
		return ""
	}
	return hostport.Join(l.conf.Advertised(slot))
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

// few is the first of some texts, for a sentence.
func few(all []string) string {
	const most = 3
	text := strings.Join(all[:min(len(all), most)], ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return foreign.Line(text)
}

// resolve looks up the advertised names. It returns those that have no address.
func (l *listenerCheck) resolve(ctx context.Context) map[string]bool {
	hosts := l.hosts(l.named[:min(len(l.named), maxNodes)])
	hosts = slices.DeleteFunc(hosts, func(host string) bool { return net.ParseIP(host) != nil })
	if len(hosts) == 0 {
		return nil
	}
	errs := make([]error, len(hosts))
	tried := l.each(ctx, len(hosts), func(ctx context.Context, i int) {
		_, errs[i] = net.DefaultResolver.LookupNetIP(ctx, "ip", hosts[i])
	})
	bad := map[string]bool{}
	var missing []string
	bootstrap, _ := l.conf.AdvertisedBootstrap()
	for i, host := range hosts {
		if errs[i] == nil || !tried[i] {
			continue
		}
		bad[host] = true
		if host != bootstrap {
			missing = append(missing, host)
			continue
		}
		l.add(l.unresolved(l.bootstrapKey(), l.bootstrap, host, errs[i]))
	}
	if len(missing) > 0 {
		i := slices.Index(hosts, missing[0])
		l.add(l.unresolved(l.nodesKey(), "", few(missing), errs[i]))
	}
	switch n := untried(tried); {
	case n > 0:
		l.note(l.conf.Key, NotChecked, "there was no time to look up "+counted(n, "advertised name"), "")
	case len(bad) == 0:
		l.ok(l.conf.Key, Resolves, counted(len(hosts), "advertised name")+" "+map[bool]string{true: "resolves", false: "resolve"}[len(hosts) == 1]+" here")
	}
	return bad
}

func (l *listenerCheck) unresolved(key, address, hosts string, err error) Finding {
	f := Finding{Level: Fault, Key: key, Kind: Kind(doctor.NameUnknown), Address: address}
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
		f.Kind = Kind(doctor.NameTimeout)
	}
	f.Says = fmt.Sprintf("the name server of this machine has no address for %s, as advertised: %s", hosts, doctor.Cause(err))
	f.Fix = "add the name to the DNS, for nodes a wildcard record, or advertise a name that is there; if only the clients' DNS has it, run the check where they run"
	return f
}
