package admission

import (
	"errors"
	"fmt"
	"net/netip"
)

// Networks are the networks from which a listener's clients may connect. The zero value
// admits every client.
type Networks struct {
	allow, deny []netip.Prefix // allow nil: all
}

// admit reports whether a client may connect from an address. A source without an address,
// such as a connection inside the process, may.
func (n Networks) admit(source netip.Addr) bool {
	if !source.IsValid() {
		return true
	}
	return (n.allow == nil || contains(n.allow, source)) && !n.denies(source)
}

// denies reports whether deny decides about a source.
func (n Networks) denies(source netip.Addr) bool { return contains(n.deny, source) }

// contains reports whether a source is in one of the networks. IPv4 within IPv6 is
// IPv4.
func contains(networks []netip.Prefix, source netip.Addr) bool {
	source = source.Unmap().WithZone("")
	for _, p := range networks {
		if p.Contains(source) {
			return true
		}
	}
	return false
}

// ParseNetwork reads a network such as 10.0.0.0/8, or a single address.
func ParseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone is on one link alone")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("not a network")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("IPv4 clients are known by their IPv4 address")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits behind its /%d; is it %v?", p.Bits(), p.Masked())
	}
	return p, nil
}

// ParseNetworks compiles allow and deny.
func ParseNetworks(allow, deny []string) (n Networks, err error) {
	parse := func(all []string) (parsed []netip.Prefix) {
		for _, s := range all {
			p, e := ParseNetwork(s)
			err = errors.Join(err, e)
			parsed = append(parsed, p)
		}
		return parsed
	}
	n = Networks{allow: parse(allow), deny: parse(deny)}
	return n, err
}

// Balancers are the load balancers that name their clients.
type Balancers struct {
	from     []netip.Prefix
	required bool
}

// NewBalancers compiles the addresses of load balancers. required says that every client has
// to come through one of them, if there are any.
func NewBalancers(from []string, required bool) (Balancers, error) {
	n, err := ParseNetworks(from, nil)
	return Balancers{from: n.allow, required: required && n.allow != nil}, err
}

// MustName reports whether every client has to be named by a load balancer.
func (b Balancers) MustName() bool { return b.required }
