package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kproxy/internal/hostport"
)

// namedListener is a listener whose clients choose an endpoint by server name.
type namedListener struct {
	key string
	*Listener
}

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
func (v *validator) bootstrapName(key string, l *Listener) {
	host, _ := l.advertisedBootstrap()
	if isAddress(host) && l.UnknownSNI != SNIBootstrap {
		v.add(key+".advertise", fmt.Sprintf("clients ask for no name when they are told the address %s", host),
			"write a name that the certificate has, or unknown_sni: bootstrap")
	}
}

// sharedNames checks listeners that share an address: their names have to tell
// them apart, and what comes before the name has to be the same.
func (v *validator) sharedNames() {
	for _, address := range slices.Sorted(maps.Keys(v.named)) {
		all := v.named[address]
		for i, l := range all {
			for _, other := range all[:i] {
				v.apart(l, other)
			}
			v.ownNames(l)
		}
	}
}

// ownNames checks that a listener's bootstrap name is not that of a node too.
func (v *validator) ownNames(l namedListener) {
	if host, _ := l.advertisedBootstrap(); l.hasNode(host) {
		v.add(l.key+".advertise", fmt.Sprintf("%q is the name of a node, too, by nodes.sni", host), "choose another name for one of them")
	}
}

func (l namedListener) hasNode(host string) bool {
	_, ok := l.nodeNames().find(hostport.Canonical(host))
	return ok
}

func (v *validator) apart(l, other namedListener) {
	const fix = "choose names that differ by more than the node's id, or another bind"
	host, _ := l.advertisedBootstrap()
	otherHost, _ := other.advertisedBootstrap()
	switch {
	case host == otherHost && !isAddress(host), other.hasNode(host):
		v.add(l.key+".advertise", fmt.Sprintf("%q is a name of %s, which has the same bind", host, other.key), fix)
	case l.hasNode(otherHost), l.nodeNames().meets(other.nodeNames()):
		v.add(l.key+".nodes.sni", fmt.Sprintf("%q may be a name of %s, which has the same bind", l.Nodes.SNI, other.key), fix)
	}
	if l.UnknownSNI == SNIBootstrap && other.UnknownSNI == SNIBootstrap {
		v.add(l.key+".unknown_sni", "bootstrap, as that of "+other.key+", which has the same bind", "write refuse for one of them")
	}
	if l.ProxyProtocol.Mode != other.ProxyProtocol.Mode || !slices.Equal(l.ProxyProtocol.From, other.ProxyProtocol.From) {
		v.add(l.key+".proxy_protocol", "not the same as that of "+other.key+", which has the same bind, and it comes before the name", "write the same for both")
	}
}
