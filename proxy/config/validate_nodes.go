package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kproxy/internal/hostport"
)

// Numbers that ranges are made of.
const (
	maxPort = 65535
	// maxSlot bounds the work of one listener; a range of addresses that large
	// is a typing error.
	maxSlot = 65535
)

// ports checks nodes that have a port each.
func (v *validator) ports(key string, n *Nodes) {
	v.span(key+".ports", n.Ports, 1, maxPort)
	if n.AdvertisePorts != (Range{}) {
		v.span(key+".advertise_ports", n.AdvertisePorts, 1, maxPort)
		if n.AdvertisePorts.Len() != n.Ports.Len() {
			v.add(key+".advertise_ports", fmt.Sprintf("%s are %d ports, but ports %s are %d", n.AdvertisePorts, n.AdvertisePorts.Len(), n.Ports, n.Ports.Len()),
				"write two ranges of one length; the first advertised port leads to the first port")
		}
	}
	if n.AdvertiseAddresses != "" {
		v.add(key+".advertise_addresses", "only goes with addresses", "write advertise_ports, or addresses instead of ports")
	}
	if n.Slots != (Range{}) {
		v.add(key+".slots", "only goes with addresses", "remove it; ports count the slots")
	}
}

// addresses checks nodes that have an address each.
func (v *validator) addresses(key string, n *Nodes) {
	if n.AdvertisePorts != (Range{}) {
		v.add(key+".advertise_ports", "only goes with ports", "write advertise_addresses")
	}
	if n.Slots == (Range{}) {
		v.add(key+".slots", "missing", "write the numbers that {slot} takes in addresses, such as 1-254")
		return
	}
	if !v.span(key+".slots", n.Slots, 0, maxSlot) {
		return
	}
	if n.AdvertiseAddresses == "" {
		v.template(key+".addresses", n, n.Addresses, true)
		return
	}
	v.template(key+".addresses", n, n.Addresses, false)
	v.template(key+".advertise_addresses", n, n.AdvertiseAddresses, true)
}

// template checks an address that holds {slot}, for every slot. told says that
// clients are told it.
func (v *validator) template(key string, n *Nodes, address string, told bool) {
	if strings.Count(address, slotVariable) != 1 {
		v.add(key, fmt.Sprintf("%q does not hold {slot} once", hostport.WithoutUser(address)), `write {slot} where the addresses differ, such as "127.0.1.{slot}:9092"`)
		return
	}
	const fix = `write advertise_addresses with a host that clients reach, such as "kafka.example.com:{slot}"`
	for slot := range n.Slots.Len() {
		host, _, err := hostport.Parse(n.expand(address, slot))
		switch {
		case err != nil:
			v.addErr(key, err)
			return
		case told && hostport.IsWildcard(host):
			v.add(key, fmt.Sprintf("%q is a wildcard, which no client can connect to", n.expand(address, slot)), fix)
			return
		case told && hostport.HasZone(host):
			v.add(key, fmt.Sprintf("%q has a zone, which has a meaning on this machine only", n.expand(address, slot)), fix)
			return
		}
	}
}

// span checks that r runs upwards from low, or more, to high, or less.
func (v *validator) span(key string, r Range, low, high int) bool {
	switch {
	case r.First > r.Last:
		v.add(key, fmt.Sprintf("%s runs backwards", r), fmt.Sprintf("write %d-%d", r.Last, r.First))
	case r.First < low || high < r.Last:
		v.add(key, fmt.Sprintf("%s is not within %d-%d", r, low, high), "write a range within it")
	default:
		return true
	}
	return false
}

func (v *validator) pins(key string, n *Nodes) {
	key += ".pin"
	taken := make(map[int]int32)
	for _, node := range slices.Sorted(maps.Keys(n.Pin)) {
		number := n.Pin[node]
		if node < 0 {
			v.add(key, fmt.Sprintf("%d is no broker id", node), "write an id of 0 or more")
		}
		if !n.numbers().contains(number) {
			v.add(key, fmt.Sprintf("node %d is pinned to %d, outside %s", node, number, n.numbers()), "choose a number of that range, or widen it")
		}
		if other, ok := taken[number]; ok {
			v.add(key, fmt.Sprintf("nodes %d and %d are both pinned to %d", other, node, number), "give each its own")
		}
		taken[number] = node
	}
}
