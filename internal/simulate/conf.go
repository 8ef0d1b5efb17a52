package simulate

import (
	"context"
	"net"
	"strconv"

	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// listeners are the listeners of the proxy, by name.
var listeners = map[string]struct {
	host            string // advertised
	bootstrap, node int    // the bound ports; that of the first node
	shift           int    // from a bound port to the advertised one
}{
	"bob": {"bob.test", 9092, 9100, 0},
	// Its name is longer than a broker's, so that hints do not fit.
	"fred": {"fred.behind-a-balancer-with-a-long-name.test", 19092, 19100, 20_000},
}

// advertised is the address that a listener has for a node; proxy.NoNode: for bootstrap.
func advertised(listener string, node int32) (host string, port int32) {
	l := listeners[listener]
	if node < 0 {
		return l.host, int32(l.bootstrap + l.shift)
	}
	return l.host, int32(l.node+l.shift) + node
}

func advertisedAt(listener string, node int32) string {
	return hostport.Join(advertised(listener, node))
}

func boundAt(listener string, node int32) string {
	_, port := advertised(listener, node)
	return hostport.Join("127.0.0.1", port-int32(listeners[listener].shift))
}

// config is the proxy's configuration.
func (c *current) config(r *run) *proxy.Config {
	cluster := config.Cluster{Name: "orders", Bootstrap: bootstrap()}
	for _, name := range []string{"bob", "fred"} {
		if name == "bob" || c.fred {
			cluster.Listeners = append(cluster.Listeners, c.listener(r.Files, name))
		}
	}
	if c.Lifetime > 0 {
		cluster.SASL = &config.SASL{Mechanism: c.Mechanism, Username: "kproxy", Password: config.Secret{Text: password}, AllowPlaintext: true}
	}
	if has(c.TLS, ofBrokers) {
		cluster.TLS = &config.UpstreamTLS{CA: r.Files.ca}
	}
	if has(c.Header, ofBrokers) {
		cluster.ProxyProtocol = []config.HeaderVersion{config.HeaderV1, config.HeaderV2}[c.Seed%2]
	}
	return &proxy.Config{
		Config: config.Config{
			Clusters: []config.Cluster{cluster}, ParkAfter: r.ParkAfter, SplicePipes: r.SplicePipes, WatchInterval: -1,
			IdleTimeout: c.Idle, MaxAge: c.MaxAge, DrainTimeout: r.drainTimeout(), MaxHeldBytes: c.Held,
		},
		Observer: &proxy.Observer{SessionClosed: r.sessionClosed},
		Listen:   r.listen,
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			return r.Inside.DialFrom(ctx, "127.0.0.1", address)
		},
	}
}

func (c *current) listener(files *Files, name string) config.Listener {
	l := listeners[name]
	first, last := l.node, l.node+brokerCount-1
	conf := config.Listener{
		Name: name, Bind: boundAt(name, proxy.NoNode), Advertise: l.host + ":" + strconv.Itoa(l.bootstrap+l.shift),
		Nodes: config.Nodes{
			Ports:          config.Range{First: first, Last: last},
			AdvertisePorts: config.Range{First: first + l.shift, Last: last + l.shift},
		},
	}
	if has(c.TLS, ofClients) {
		pair := files.certs[0]
		if c.renewed {
			pair = files.certs[1]
		}
		conf.TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: pair.cert, Key: pair.key}}}
	}
	if has(c.Header, ofClients) {
		conf.ProxyProtocol = config.LoadBalancers{From: []string{"127.0.0.0/8"}, Mode: config.HeaderRequired}
	}
	if c.Login == atKproxy {
		conf.Login = &config.Login{Mechanisms: []string{c.Mechanism}, UsersFile: files.users}
	}
	if name == "bob" {
		conf.Limits.MaxConnections, conf.Limits.MaxPerSource = c.Limit, c.Source
	}
	return conf
}
