package proxy

import (
	"context"
	"fmt"

	"kproxy/internal/cluster"
)

// Inquire connects to a broker of the cluster with this name: to a configured address,
// host:port, with NoNode, or to a node at the address that it advertises, which the rules for
// learned addresses must admit. The Proxy need not have been started. Shutdown frees its
// resources.
func (p *Proxy) Inquire(ctx context.Context, name string, node int32, address string) (*cluster.Inquiry, error) {
	if c := p.cluster(name); c != nil {
		return c.Inquire(ctx, node, address)
	}
	return nil, fmt.Errorf("there is no cluster %q", name)
}

// Advice is what to do about a dial that failed with err.
func Advice(err error) string { return dialFailure(err).fix }
