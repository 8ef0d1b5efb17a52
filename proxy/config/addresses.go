package config

import (
	"strconv"
	"strings"
)

// slotVariable is the placeholder for the slot's number in Nodes.Addresses and
// Nodes.AdvertiseAddresses.
const slotVariable = "{slot}"

// String returns r as in the configuration file: 9100-9199, or 9100.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last)
}

// contains reports whether n is one of r's numbers.
func (r Range) contains(n int) bool {
	return r != (Range{}) && r.First <= n && n <= r.Last
}

// numbers returns the range from which a node's slot is counted: the ports, or the slots
// themselves.
func (n *Nodes) numbers() Range {
	if n.Addresses != "" {
		return n.Slots
	}
	return n.Ports
}

// expand replaces {slot} in an address with the number of a slot.
func (n *Nodes) expand(address string, slot int) string {
	return strings.Replace(address, slotVariable, strconv.Itoa(n.Slots.First+slot), 1)
}
