package proxy

import (
	"math"
	"strconv"
	"strings"

	"kproxy/internal/hostport"
)

// slotVariable is what stands for the slot's number in Nodes.Addresses and
// Nodes.AdvertiseAddresses.
const slotVariable = "{slot}"

// String is r as the configuration file writes it: 9100-9199, or 9100.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last)
}

// contains says whether n is one of r's numbers.
func (r Range) contains(n int) bool {
	return r != (Range{}) && r.First <= n && n <= r.Last
}

// numbers are what a node's slot is counted by: ports, or the slots themselves.
func (n *Nodes) numbers() Range {
	if n.Addresses != "" {
		return n.Slots
	}
	return n.Ports
}

// The methods below are the only ones that turn slots into addresses, so that
// what Validate has compared is what is bound and advertised. They count slots
// from 0 and expect a Listener that Validate takes.

// slots is how many addresses there are for nodes to have as their own.
func (l *Listener) slots() int {
	return l.Nodes.numbers().Len()
}

// nodeSlots is how many nodes can have an endpoint at the same time. Names there
// are for all: a node's slot is its id.
func (l *Listener) nodeSlots() int {
	if l.Nodes.SNI != "" {
		return math.MaxInt32
	}
	return l.slots()
}

// bindAddress is the host:port that the endpoint of slot listens on.
func (l *Listener) bindAddress(slot int) string {
	if l.Nodes.SNI != "" {
		return l.Bind
	}
	if l.Nodes.Addresses != "" {
		return l.Nodes.expand(l.Nodes.Addresses, slot)
	}
	host, _ := mustParse(l.Bind)
	return hostport.Join(host, int32(l.Nodes.Ports.First+slot))
}

// advertisedAddress is what clients are told about the node that has slot. The host is
// in canonical form: an IPv6 host without brackets, as in Kafka's answers, and a name
// without its root dot, with which Java's clients send no server name.
func (l *Listener) advertisedAddress(slot int) (host string, port int32) {
	switch n := &l.Nodes; {
	case n.SNI != "":
		names := l.nodeNames()
		return names.of(int32(slot)), names.port
	case n.AdvertiseAddresses != "":
		return mustCanonical(n.expand(n.AdvertiseAddresses, slot))
	case n.Addresses != "":
		return mustCanonical(n.expand(n.Addresses, slot))
	default:
		first := n.Ports.First
		if n.AdvertisePorts != (Range{}) {
			first = n.AdvertisePorts.First
		}
		host, _ := l.advertisedBootstrap()
		return host, int32(first + slot)
	}
}

// advertisedBootstrap is where clients are meant to bootstrap, the host in canonical
// form.
func (l *Listener) advertisedBootstrap() (host string, port int32) {
	if l.Advertise != "" {
		return mustCanonical(l.Advertise)
	}
	return mustCanonical(l.Bind)
}

// pinnedSlots are the slots of the nodes that have one by name.
func (l *Listener) pinnedSlots() map[int32]int {
	first := l.Nodes.numbers().First
	slots := make(map[int32]int, len(l.Nodes.Pin))
	for node, number := range l.Nodes.Pin {
		slots[node] = number - first
	}
	return slots
}

// expand puts slot's number into an address.
func (n *Nodes) expand(address string, slot int) string {
	return strings.Replace(address, slotVariable, strconv.Itoa(n.Slots.First+slot), 1)
}

// mustCanonical is mustParse with the host in canonical form.
func mustCanonical(address string) (host string, port int32) {
	host, port = mustParse(address)
	return hostport.Canonical(host), port
}

// mustParse splits an address that Validate has taken.
func mustParse(address string) (host string, port int32) {
	host, port, err := hostport.Parse(address)
	if err != nil {
		panic("proxy: address not validated: " + err.Error())
	}
	return host, port
}

// boundAddress writes addresses alike that are bound alike.
func boundAddress(address string) string {
	host, port := mustParse(address)
	return hostport.Join(hostport.Bound(host), port)
}
