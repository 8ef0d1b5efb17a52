package config

import (
	"fmt"
	"net/netip"
	"slices"

	"kproxy/internal/admission"
	"kproxy/internal/hostport"
)

// listener checks one listener by itself, and then, if its addresses can be
// computed at all, against itself and all others.
func (v *validator) listener(key string, l *Listener) (p *ListenerPlan, ok bool) {
	before := len(v.errs)
	v.bindAndAdvertise(key, l)
	v.networks(key, l)
	v.login(key+".login", l.Login)
	v.apis(key+".apis", &l.APIs)
	v.listenerLimits(key, &l.Limits)
	if l.TLS != nil {
		v.tls(key, l.ServerConfig("").Validate())
	}
	nodesKey := key + ".nodes"
	switch n := &l.Nodes; {
	case n.SNI != "" && (n.Ports != (Range{}) || n.Addresses != ""):
		v.add(nodesKey, "sni, and ports or addresses", "keep sni for one port for all brokers, or one of the others")
	case n.SNI != "":
		v.sni(key, l)
	case n.Ports != (Range{}) && n.Addresses != "":
		v.add(nodesKey, "both ports and addresses", "keep ports for one port for each broker, or addresses for one address")
	case n.Ports != (Range{}):
		v.ports(nodesKey, n)
	case n.Addresses != "":
		v.addresses(nodesKey, n)
	default:
		v.add(nodesKey, "neither ports nor addresses nor sni", `write {ports: 9100-9199}, or {addresses: "127.0.1.{slot}:9092", slots: 1-254}`)
	}
	if l.Nodes.FirstNode < 0 {
		v.add(nodesKey+".first_node", fmt.Sprintf("%d is no broker id", l.Nodes.FirstNode), "write the lowest broker id, 0 or more")
	}
	switch {
	case l.UnknownSNI != "" && l.UnknownSNI != SNIRefuse && l.UnknownSNI != SNIBootstrap:
		v.add(key+".unknown_sni", fmt.Sprintf("%q is neither refuse nor bootstrap", l.UnknownSNI), "write one of them")
	case l.UnknownSNI == SNIBootstrap && l.Nodes.SNI == "":
		v.add(key+".unknown_sni", "only goes with nodes.sni", "take it out: where ports or addresses tell the nodes, any name leads to the address's own")
	}
	if len(v.errs) > before {
		return nil, false
	}
	p, err := newListenerPlan(key, l)
	if err != nil {
		v.addErr(key, err)
		return nil, false
	}
	if l.Nodes.SNI != "" {
		v.bootstrapName(p)
		v.claim(bound{key: key + ".bind", address: p.bind, listener: p}, nil)
		return p, true
	}
	v.pins(nodesKey, &l.Nodes)
	v.endpoints(p)
	v.advertised(p)
	return p, true
}

// networks checks who may come in. What is allowed and wholly denied, or twice the same,
// would be a setting without effect.
func (v *validator) networks(key string, l *Listener) {
	deny, _ := v.networkList(key+".deny", l.Deny)
	allow, items := v.networkList(key+".allow", l.Allow)
	for i, p := range allow {
		if within(p, deny) {
			v.add(items[i], p.String()+" is all within deny, which decides", "take it out of one of the two")
		}
	}
	from, _ := v.networkList(key+".proxy_protocol.from", l.ProxyProtocol.From)
	switch mode := l.ProxyProtocol.Mode; {
	case mode != "" && mode != HeaderRequired && mode != HeaderOptional:
		v.add(key+".proxy_protocol.mode", fmt.Sprintf("%q is neither required nor optional", mode), "write one of them")
	case mode == HeaderOptional && len(from) == 0 && len(l.ProxyProtocol.From) == 0:
		v.add(key+".proxy_protocol", "no header is believed without from", "write from: the networks of the load balancers")
	}
}

// networkList parses networks, and returns those that are good, with the key of each.
func (v *validator) networkList(key string, networks []string) (parsed []netip.Prefix, items []string) {
	list := key
	for i, s := range networks {
		key := item(list, i)
		p, err := admission.ParseNetwork(s)
		switch {
		case err != nil:
			v.add(key, fmt.Sprintf("%q: %v", s, err), "write a network such as 10.0.0.0/8, or an address such as 10.0.0.7")
		case within(p, parsed):
			v.add(key, s+" is there already, or within a network that is", "take it out")
		default:
			parsed, items = append(parsed, p), append(items, key)
		}
	}
	return parsed, items
}

// within reports whether all of p is in one of the networks.
func within(p netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(wider netip.Prefix) bool {
		return wider.Bits() <= p.Bits() && wider.Contains(p.Addr())
	})
}

func (v *validator) bindAndAdvertise(key string, l *Listener) {
	bindHost, _, err := hostport.Parse(l.Bind)
	if err != nil {
		v.addErr(key+".bind", err)
	}
	const fix = "write the name or address by which clients reach kproxy, such as kafka.example.com:9092"
	if l.Advertise == "" {
		switch {
		case err != nil:
		case hostport.IsWildcard(bindHost):
			v.add(key+".advertise", fmt.Sprintf("missing, and bind is the wildcard %q, which no client can connect to", l.Bind), fix)
		case hostport.HasZone(bindHost):
			v.add(key+".advertise", fmt.Sprintf("missing, and bind %q has a zone, which has a meaning on this machine only", l.Bind), fix)
		}
		return
	}
	switch host, _, err := hostport.Parse(l.Advertise); {
	case err != nil:
		v.addErr(key+".advertise", err)
	case hostport.IsWildcard(host):
		v.add(key+".advertise", fmt.Sprintf("%q is a wildcard, which no client can connect to", l.Advertise), fix)
	case hostport.HasZone(host):
		v.add(key+".advertise", fmt.Sprintf("%q has a zone, which has a meaning on this machine only", l.Advertise), fix)
	}
}

// advertised checks that a client which is told a node's address reaches the
// node: the bootstrap endpoint leads to any broker.
func (v *validator) advertised(l *ListenerPlan) {
	bootstrap := l.bootstrap.bound()
	for slot := range l.Slots() {
		at := l.advertised.at(slot)
		if at.bound() != bootstrap {
			continue
		}
		v.add(l.Nodes.toldKey(l.Key), fmt.Sprintf("a node would be advertised at %s, where clients bootstrap", at),
			"advertise the nodes at other ports or addresses than the bootstrap endpoint")
		return
	}
}

// toldKey is the key that says what clients are told about nodes.
func (n *Nodes) toldKey(listener string) string {
	switch {
	case n.AdvertiseAddresses != "":
		return listener + ".nodes.advertise_addresses"
	case n.Addresses != "":
		return listener + ".nodes.addresses"
	case n.AdvertisePorts != (Range{}):
		return listener + ".nodes.advertise_ports"
	default:
		return listener + ".nodes.ports"
	}
}
