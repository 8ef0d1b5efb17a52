package config

import (
	"fmt"
	"net/netip"

	"kproxy/internal/hostport"
)

// binds are all addresses that a Config would listen on, by port.
type binds map[int32]*portBinds

// portBinds are the addresses of one port.
type portBinds struct {
	first    bound            // the first of all
	first4   *bound           // the first that may be of IPv4: its addresses, and names
	byHost   map[string]bound // by what a socket occupies
	wildcard *bound           // every interface of both families
	ipv4     *bound           // every interface of IPv4
}

// bound is one listening address and the key that asked for it.
type bound struct {
	key      string
	address  address
	listener *ListenerPlan // one with names, which may share the address with others of its kind; nil: the address is not shared
}

// shares reports whether both may have the address.
func (b bound) shares(other bound) bool {
	return b.listener != nil && other.listener != nil && b.address.bound() == other.address.bound()
}

// claim reserves the address of b. If it is taken, directly or by a wildcard, claim returns
// the holder.
func (bs *binds) claim(b bound) (other bound, taken bool) {
	if *bs == nil {
		*bs = make(binds)
	}
	host, port := b.address.bound().host, b.address.port
	p, ok := (*bs)[port]
	if !ok {
		p = &portBinds{first: b, byHost: make(map[string]bound)}
		(*bs)[port] = p
	}
	switch {
	case p.wildcard != nil:
		return *p.wildcard, true
	case host == "":
		p.wildcard = &b
		return p.first, ok
	case isIPv6(host):
	case p.ipv4 != nil:
		return *p.ipv4, true
	case host == hostport.IPv4Wildcard:
		if p.ipv4 = &b; p.first4 != nil {
			return *p.first4, true
		}
		return bound{}, false
	case p.first4 == nil:
		p.first4 = &b
	}
	if other, taken = p.byHost[host]; !taken {
		p.byHost[host] = b
	}
	return other, taken
}

func isIPv6(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is6()
}

// reaches says which of kproxy's addresses a connection to host and port would
// end at, as far as that is certain without resolving names.
func (bs binds) reaches(to address) (bound, bool) {
	p, ok := bs[to.port]
	if !ok {
		return bound{}, false
	}
	host := to.bound().host
	if b, ok := p.byHost[host]; ok {
		return b, true
	}
	switch ip, err := netip.ParseAddr(host); {
	case err != nil || !ip.IsLoopback():
	case p.wildcard != nil:
		return *p.wildcard, true
	case p.ipv4 != nil && ip.Is4():
		return *p.ipv4, true
	}
	return bound{}, false
}

// endpoints claims every address of a listener. A range that meets another is
// one mistake, however many ports they share.
func (v *validator) endpoints(l *ListenerPlan) {
	v.claim(bound{key: l.Key + ".bind", address: l.bind}, nil)
	nodesKey := l.Key + ".nodes.ports"
	if l.Nodes.Addresses != "" {
		nodesKey = l.Key + ".nodes.addresses"
	}
	reported := make(map[string]bool)
	for slot := range l.Slots() {
		v.claim(bound{key: nodesKey, address: l.binds.at(slot)}, reported)
	}
}

// claim reports that b is taken, once for each other key in reported.
func (v *validator) claim(b bound, reported map[string]bool) {
	other, taken := v.binds.claim(b)
	if b.listener != nil && (!taken || b.shares(other)) {
		v.share(b)
		return
	}
	if !taken || reported[other.key] {
		return
	}
	if reported != nil {
		reported[other.key] = true
	}
	by := other.key
	if other.address != b.address {
		by += ", as " + other.address.String()
	}
	v.add(b.key, fmt.Sprintf("%s is bound already by %s", b.address, by), "move one of them to another port or address")
}

// share notes a listener for the check of those that share its address.
func (v *validator) share(b bound) {
	if v.named == nil {
		v.named = map[address][]*ListenerPlan{}
	}
	at := b.address.bound()
	v.named[at] = append(v.named[at], b.listener)
}
