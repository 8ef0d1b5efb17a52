package connect

import (
	"cmp"
	"log/slog"
	"net"
	"slices"
	"time"

	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// clusterName is the one cluster's name in the proxy's configuration.
const clusterName = "cluster"

// Options are the user's settings.
type Options struct {
	Addresses []string          // host:port, one at least
	Nodes     map[int32]string  // where single nodes are, host:port
	Dial      []config.DialRule // further rules
	TLS       *config.UpstreamTLS
	SASL      *config.SASL // nil: clients log in by themselves, if they have to
	Via       config.Via
	Piped     map[string]string // files of TLS that KeepPipes made -> the original pipes

	Listen    []string // hosts to listen on
	Advertise string   // the host that is advertised to clients
	Port      int      // of the bootstrap endpoint; 0: any that is free
	StateDir  string   // where ports are remembered; "": nowhere

	Parts   config.Parts  // that the program links
	Timeout time.Duration // of one question
	Logger  *slog.Logger
	// Say is called with progress messages, a line at a time.
	Say func(line string)
}

// Validate finds mistakes in the options without sending a request.
func (o *Options) Validate() error { return o.config(nil, o.unusedPorts()).Validate() }

// unusedPorts are ports that no address of the user's has. They are placeholders for those that
// are chosen later, and are never bound.
func (o *Options) unusedPorts() Ports {
	used := map[int32]bool{}
	use := func(address string) {
		if _, port, err := hostport.Parse(address); err == nil {
			used[port] = true
		}
	}
	for _, address := range o.Addresses {
		use(address)
	}
	for _, address := range o.Nodes {
		use(address)
	}
	for _, r := range o.Dial {
		use(r.To)
	}
	p := Ports{Base: 1, Size: 1}
	for p.last() < lastPort && (used[int32(p.Base)] || used[int32(p.last())]) {
		p.Base++
	}
	return p
}

// Override is TLS with the settings given by flags in place of those of a file.
func Override(from *config.UpstreamTLS, given config.UpstreamTLS) *config.UpstreamTLS {
	if from == nil {
		return &given
	}
	out := *from
	out.CA = cmp.Or(given.CA, out.CA)
	if given.Cert != "" {
		out.Cert, out.Key = given.Cert, given.Key
	}
	out.ServerName = cmp.Or(given.ServerName, out.ServerName)
	out.InsecureSkipVerify = out.InsecureSkipVerify || given.InsecureSkipVerify
	return &out
}

// Loopback are the hosts to listen on by default: both of localhost's, as far as the
// machine has them.
func Loopback() []string {
	return loopback(func(host string) bool {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0")) //nolint:noctx // it neither resolves nor waits
		if err == nil {
			_ = l.Close()
		}
		return err == nil
	})
}

// loopback returns those of localhost's addresses that the machine has. If it finds none,
// it returns IPv4's, so that listening fails with the reason.
func loopback(has func(host string) bool) []string {
	hosts := slices.DeleteFunc([]string{"127.0.0.1", "::1"}, func(host string) bool { return !has(host) })
	if len(hosts) == 0 {
		return []string{"127.0.0.1"}
	}
	return hosts
}

// config is a proxy's configuration for the known state of the cluster.
func (o *Options) config(paired map[int32]string, ports Ports) *proxy.Config {
	c := config.Cluster{
		Name:           clusterName,
		Bootstrap:      o.Addresses,
		Dial:           o.rules(paired),
		TLS:            o.TLS,
		SASL:           o.SASL,
		Via:            o.Via,
		ConnectTimeout: o.Timeout,
	}
	names := []string{"local", "local6"}
	for i, host := range o.Listen {
		c.Listeners = append(c.Listeners, ports.listener(names[i], host, o.Advertise))
	}
	return &proxy.Config{Config: config.Config{Clusters: []config.Cluster{c}, DrainTimeout: drainTimeout, Parts: o.Parts}, Logger: o.Logger}
}

// drainTimeout is how long to wait for responses in flight at the end. A person waits,
// too.
const drainTimeout = 3 * time.Second
