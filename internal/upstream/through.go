package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"kproxy/internal/hostport"
)

// DialFunc has the shape of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// DialNear connects from this machine to the proxy that a Through uses.
// Source and keep-alive are those of brokers' connections, and kproxy's own
// addresses are refused. A proxy on loopback does not admit brokers on loopback.
func (d *Dialer) DialNear(ctx context.Context, network, address string) (net.Conn, error) {
	if d.DialContext != nil {
		return d.DialContext(ctx, network, address)
	}
	return d.netDialer(d.notOwn).DialContext(ctx, network, address)
}

// checkFar refuses an address that is dialled at the far side of Through, judging by its
// text. The addresses that a name resolves to there are not seen here, so that only
// Brokers admits a name.
func (d *Dialer) checkFar(t Target, learned bool, address string) error {
	host, _, err := hostport.Parse(address)
	host = hostport.Canonical(host)
	if err != nil || learned && hex.MatchString(host) {
		return &RefusedError{
			Target:  t,
			Problem: fmt.Sprintf("%q is neither a name nor an address in its usual form, and the far side may take it for any", address),
			Fix:     fmt.Sprintf(`if the broker is there, add {node: %d, to: "HOST:%d"} to the cluster's dial rules`, t.Node, t.Port),
		}
	}
	if strings.HasSuffix(host, ".localhost") {
		host = "localhost"
	}
	if ip, ok := farNames[host]; ok {
		return d.admit(t, learned, ip)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return d.admit(t, learned, ip.Unmap())
	}
	return nil
}

// hex matches names that a resolver reads as an IPv4 address and hostport as a name, such
// as 0x7f000001 and 127.0x1.
var hex = regexp.MustCompile(`(^|\.)0x[0-9a-f]*$`)
