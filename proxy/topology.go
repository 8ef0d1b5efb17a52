package proxy

import (
	"kproxy/internal/cluster"
	"kproxy/proxy/config"
)

// Topology is everything that clients reach through a Proxy, and the brokers behind.
type Topology struct{ Clusters []ClusterTopology }

// ClusterTopology is a cluster with its listeners, in the order of the configuration.
type ClusterTopology struct {
	ClusterHealth

	ID        string // the cluster's own; "": no response has had it yet
	Listeners []ListenerTopology
}

// ListenerTopology is a listener, and the nodes that have a slot of it, by id.
type ListenerTopology struct {
	Name       string
	Bind       string // host:port of the bootstrap endpoint
	Advertised string // host:port that clients bootstrap from
	TLS        bool
	APIs       config.APIs // that clients may use; it must not be changed
	Nodes      []cluster.Place
}

// Topology returns the present one. It asks no broker.
func (p *Proxy) Topology() Topology {
	var t Topology
	for _, c := range p.clusters() {
		at := ClusterTopology{ClusterHealth: c.clusterHealth(), ID: c.ClusterID()}
		for _, l := range c.listeners() {
			at.Listeners = append(at.Listeners, l.topology())
		}
		t.Clusters = append(t.Clusters, at)
	}
	return t
}

func (l *listener) topology() ListenerTopology {
	conf := l.conf()
	return ListenerTopology{
		Name:       l.name,
		Bind:       conf.Bind,
		Advertised: conf.BootstrapAddress(),
		TLS:        conf.tls != nil,
		APIs:       conf.APIs,
		Nodes:      l.cluster.Places(l.name),
	}
}
