package proxy_test

import (
	"context"
	"maps"
	"net"
	"testing"

	"kproxy/proxy/config"
)

// The wildcard of IPv4 lets nobody in by IPv6, where networks of IPv4 that are denied
// would be no obstacle.
func TestIPv4WildcardIsBoundAsIPv4(t *testing.T) {
	t.Parallel()
	var l lab
	l.startBroker(t, 0, 0)
	conf := l.config()
	for i, bind := range []string{"0.0.0.0:9092", "[::]:19092"} {
		conf.Clusters[0].Listeners[i].Bind = bind
		conf.Clusters[0].Listeners[i].Nodes.Ports.Last = conf.Clusters[0].Listeners[i].Nodes.Ports.First
		conf.Clusters[0].Listeners[i].Nodes.AdvertisePorts = config.Range{}
	}
	listen, networks := conf.Listen, map[string]string{}
	conf.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		networks[address] = network
		return listen(ctx, network, address)
	}
	l.start(t, conf)
	want := map[string]string{"0.0.0.0:9092": "tcp4", "0.0.0.0:9100": "tcp4", "[::]:19092": "tcp", "[::]:19100": "tcp"}
	if !maps.Equal(networks, want) {
		t.Errorf("got %v, want %v", networks, want)
	}
}
