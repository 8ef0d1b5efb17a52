package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kproxy/internal/hostport"
)

// sni checks nodes that have a name each.
func (v *validator) sni(key string, l *Listener) {
	nodes := key + ".nodes"
	if l.TLS == nil {
		v.add(nodes+".sni", "the listener has no tls, without which clients ask for no name", "add tls: {certs: [{cert: edge.pem, key: edge.key}]}, or use ports")
	}
	if l.Nodes.FirstNode != 0 || len(l.Nodes.Pin) > 0 {
		v.add(nodes, "first_node and pin only go with ports or addresses", "take them out: each node has the name with its own id")
	}
	if l.Nodes.AdvertisePorts != (Range{}) || l.Nodes.AdvertiseAddresses != "" || l.Nodes.Slots != (Range{}) {
		v.add(nodes, "advertise_ports, advertise_addresses and slots do not go with sni", "take them out: clients are told sni")
	}
	const fix = `write a name that differs by the node's id, such as "b{node}.kafka.example.com:443"`
	if strings.Count(l.Nodes.SNI, nodeVariable) != 1 {
		v.add(nodes+".sni", fmt.Sprintf("%q does not hold {node} once", hostport.WithoutUser(l.Nodes.SNI)), fix)
		return
	}
	host, _, err := hostport.Parse(strings.ReplaceAll(l.Nodes.SNI, nodeVariable, "0"))
	switch {
	case err != nil:
		v.addErr(nodes+".sni", err)
	case isAddress(host):
		v.add(nodes+".sni", fmt.Sprintf("%q is an address, and TLS asks for names only", l.Nodes.SNI), fix)
	case strings.Index(l.Nodes.SNI, nodeVariable) > strings.LastIndex(l.Nodes.SNI, ":"):
		v.add(nodes+".sni", "{node} stands in the port", fix)
	}
}

// bootstrapName checks that the clients of a listener with names get to its
// bootstrap endpoint.
func (v *validator) bootstrapName(l *ListenerPlan) {
	host := l.bootstrap.host
	if isAddress(host) && l.UnknownSNI != SNIBootstrap {
		v.add(l.Key+".advertise", fmt.Sprintf("clients ask for no name when they are told the address %s", host),
			"write a name that the certificate has, or unknown_sni: bootstrap")
	}
}

// sharedNames checks listeners that share an address: their names have to tell
// them apart, and what comes before the name has to be the same.
func (v *validator) sharedNames() {
	for _, at := range slices.SortedFunc(maps.Keys(v.named), func(a, b address) int { return strings.Compare(a.String(), b.String()) }) {
		all := v.named[at]
		for i, l := range all {
			for _, other := range all[:i] {
				v.apart(l, other)
			}
			v.ownNames(l)
		}
	}
}

// ownNames checks that a listener's bootstrap name is not that of a node too.
func (v *validator) ownNames(l *ListenerPlan) {
	if host := l.bootstrap.host; l.hasNode(host) {
		v.add(l.Key+".advertise", fmt.Sprintf("%q is the name of a node, too, by nodes.sni", host), "choose another name for one of them")
	}
}

func (p *ListenerPlan) hasNode(host string) bool {
	_, ok := p.Names.Find(hostport.Canonical(host))
	return ok
}

func (v *validator) apart(l, other *ListenerPlan) {
	const fix = "choose names that differ by more than the node's id, or another bind"
	host, otherHost := l.bootstrap.host, other.bootstrap.host
	switch {
	case host == otherHost && !isAddress(host), other.hasNode(host):
		v.add(l.Key+".advertise", fmt.Sprintf("%q is a name of %s, which has the same bind", host, other.Key), fix)
	case l.hasNode(otherHost), l.Names.meets(other.Names):
		v.add(l.Key+".nodes.sni", fmt.Sprintf("%q may be a name of %s, which has the same bind", l.Nodes.SNI, other.Key), fix)
	}
	if l.UnknownSNI == SNIBootstrap && other.UnknownSNI == SNIBootstrap {
		v.add(l.Key+".unknown_sni", "bootstrap, as that of "+other.Key+", which has the same bind", "write refuse for one of them")
	}
	if l.ProxyProtocol.Mode != other.ProxyProtocol.Mode || !slices.Equal(l.ProxyProtocol.From, other.ProxyProtocol.From) {
		v.add(l.Key+".proxy_protocol", "not the same as that of "+other.Key+", which has the same bind, and it comes before the name", "write the same for both")
	}
}
