package config

import (
	"strconv"
	"strings"
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

// expand puts slot's number into an address.
func (n *Nodes) expand(address string, slot int) string {
	return strings.Replace(address, slotVariable, strconv.Itoa(n.Slots.First+slot), 1)
}
