package connect

import (
	"context"
	"net"

	"kproxy/internal/speaks"
	"kproxy/proxy"
)

// Prober asks the brokers of one cluster, as Examine does: over a Proxy without clients, for
// a caller that judges the results itself. It is safe for concurrent use.
type Prober struct{ asker }

// NewProber returns a Prober for the cluster of p with this name. o has the cluster's Via, TLS
// and SASL; its addresses and rules are not used. met, which may be nil, gets each connection
// over which a broker is asked first, from several goroutines; it must not keep it.
func NewProber(p *proxy.Proxy, cluster string, o *Options, met func(net.Conn)) *Prober {
	return &Prober{asker{Options: o, proxy: p, cluster: cluster, met: met}}
}

// Probe runs f with a Prober that connects as a client with these options does, and to each
// node at the address in nodes. The error is that of f, or of options that cannot work.
func (o *Options) Probe(nodes map[int32]string, met func(net.Conn), f func(p *Prober) error) error {
	return o.ask(nodes, func(a asker) error {
		a.met = met
		return f(&Prober{a})
	})
}

// Brokers asks an address, host:port, for the brokers.
func (p *Prober) Brokers(ctx context.Context, address string) (*Cluster, error) {
	return p.brokersFrom(ctx, address)
}

// Meet connects to a broker of c at its dial address, over several connections if there is
// more than one broker. It returns the brokers that the broker names there. known reports
// whether the broker has shown its identity. The error is that of the connection, or a
// *doctor.SelfError if another broker is there.
func (p *Prober) Meet(ctx context.Context, c *Cluster, b Broker) (named []Broker, known bool, err error) {
	return p.meet(ctx, c, b)
}

// Speaks returns the service at a port, host:port, where an attempt has failed with err. It
// asks the port only if the error does not have the cause.
func (p *Prober) Speaks(ctx context.Context, address string, err error) speaks.Peer {
	return p.askPort(ctx, address, err)
}
