package proxy

import "context"

// Endpoint is one line of the table of advertised addresses and the brokers that they lead to.
type Endpoint struct {
	Cluster, Listener string
	Bootstrap         string // host:port that clients bootstrap from
	Node              int32  // NoNode while no broker of the cluster is known
	Bind              string // host:port where the node's endpoint listens
	Advertised        string // advertised host:port of the node
	Dialled           string // host:port where the node is reached
}

// Table returns an Endpoint for each node of each listener, in the order of the
// configuration. It waits until the brokers of every cluster are known, or ctx ends. A
// listener of a cluster whose brokers are unknown has one Endpoint with NoNode.
func (p *Proxy) Table(ctx context.Context) []Endpoint {
	var rows []Endpoint
	for _, c := range p.clusters() {
		select {
		case <-c.Known():
		case <-ctx.Done():
		}
		for _, l := range c.listeners() {
			rows = append(rows, l.rows()...)
		}
	}
	return rows
}

func (l *listener) rows() []Endpoint {
	base := Endpoint{
		Cluster:   l.cluster.name,
		Listener:  l.name,
		Bootstrap: l.conf().BootstrapAddress(),
		Node:      NoNode,
	}
	var rows []Endpoint
	for _, at := range l.cluster.Places(l.name) {
		row := base
		row.Node, row.Dialled = at.Broker.Node, at.Dialled
		row.Bind, row.Advertised = at.Bind, at.Advertised
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return []Endpoint{base}
	}
	return rows
}

// Broker is a broker as the cluster names it.
type Broker struct {
	Node int32
	Host string
	Port int32
}

// Brokers returns the known brokers of the cluster with this name, by id, and the cluster's
// id; "": no response has had it yet.
func (p *Proxy) Brokers(name string) (clusterID string, all []Broker) {
	c := p.cluster(name)
	if c == nil {
		return "", nil
	}
	for _, b := range c.Nodes() {
		if b.Host != "" {
			all = append(all, Broker(b))
		}
	}
	return c.ClusterID(), all
}
