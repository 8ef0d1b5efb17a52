package config

import (
	"cmp"
	"slices"
)

// withDefaults returns a copy of c with its zero fields filled in.
func (c *Config) withDefaults() Config {
	d := *c
	d.MaxRequestBytes = cmp.Or(d.MaxRequestBytes, DefaultMaxRequestBytes)
	d.MaxRequestBytesBeforeLogin = cmp.Or(d.MaxRequestBytesBeforeLogin, DefaultMaxRequestBytesBeforeLogin)
	d.FirstRequestTimeout = cmp.Or(d.FirstRequestTimeout, DefaultFirstRequestTimeout)
	d.HandshakeTimeout = cmp.Or(d.HandshakeTimeout, DefaultHandshakeTimeout)
	d.DrainTimeout = cmp.Or(d.DrainTimeout, DefaultDrainTimeout)
	d.WatchInterval = cmp.Or(d.WatchInterval, DefaultWatchInterval)
	d.PeerGoneAfter = cmp.Or(d.PeerGoneAfter, DefaultPeerGoneAfter)
	d.ParkAfter = cmp.Or(d.ParkAfter, DefaultParkAfter)
	d.Clusters = slices.Clone(c.Clusters)
	for i := range d.Clusters {
		cluster := &d.Clusters[i]
		cluster.ConnectTimeout = cmp.Or(cluster.ConnectTimeout, DefaultConnectTimeout)
		cluster.Keepalive = cmp.Or(cluster.Keepalive, DefaultKeepalive)
		cluster.ForgetAfter = cmp.Or(cluster.ForgetAfter, DefaultForgetAfter)
		cluster.Listeners = slices.Clone(cluster.Listeners)
		for j, l := range cluster.Listeners {
			cluster.Listeners[j] = l.in(cluster.Name)
		}
	}
	return d
}
