package via

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"kproxy/internal/hostport"
)

// hostName matches the names that may be passed to a proxy or into a command's arguments.
// It comes from a broker's response: no character of it may mean anything to a shell, and
// a hyphen in front would make it an option.
var hostName = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z`)

// Target is where a dial is to end, checked.
type Target struct {
	Host string // an IPv6 host without brackets
	Port int32
}

// String is host:port, an IPv6 host in brackets.
func (t Target) String() string { return hostport.Join(t.Host, t.Port) }

// parseTarget takes host:port with a host that is an IP address without a zone, or a
// name. The zone of an IPv6 address is free text, and has a meaning on one machine only.
func parseTarget(address string) (Target, error) {
	host, port, err := hostport.Parse(address)
	if err != nil {
		return Target{}, fmt.Errorf("the address is not usable: %w", err)
	}
	if host == "" {
		return Target{}, errors.New("the address has no host")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return Target{}, fmt.Errorf("%q has a zone, which means nothing at the far side", address)
		}
		return Target{Host: host, Port: port}, nil
	}
	if !hostName.MatchString(host) || strings.Contains(host, ".-") {
		return Target{}, fmt.Errorf("%q is no host name", host)
	}
	return Target{Host: host, Port: port}, nil
}
