package live

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"kproxy/internal/connect"
	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Limits of a check.
const (
	maxNodes = 100              // brokers of a cluster that are tried
	maxTries = 16               // addresses that are tried at the same time
	maxParts = 4                // clusters, and listeners of each, that are checked at the same time
	stepTime = 10 * time.Second // of a step: all bootstrap addresses, all nodes, all names
	tryTime  = 5 * time.Second  // of the attempt at one address
	bindTime = 2 * time.Second  // of asking whether a process listens at a bind address
)

// Options are the inputs of a check.
type Options struct {
	// Config is a valid configuration. Its files are read.
	Config *proxy.Config
	// Running is a kproxy that runs, in place of Config. Its listeners are tried, and the brokers
	// are not: that takes kproxy's own login and way to them.
	Running *Running
	// Clients are the configurations of clients, by which listeners are tried.
	Clients []Client
	// Skip reports whether a listener, by its key, is not tried from the outside, because the
	// kproxy that runs does not have it as Config has it; nil: none is skipped.
	Skip func(key string) bool
	// Served reports that kproxy serves the listeners, on this machine or on another: one that is
	// not reached is a fault, although no process listens at its bind address here. Running does.
	Served bool
	// Progress is called with how many addresses are done, of how many, from several
	// goroutines; nil: it is not called.
	Progress func(done, all int)
}

// Client is the configuration of a client.
type Client struct {
	File      string   // its name
	Bootstrap []string // host:port; none: it is for every listener that no other client names
	TLS       *config.UpstreamTLS
	SASL      *config.SASL
}

// For reports whether the client bootstraps at an address.
func (c *Client) For(address string) bool {
	return slices.ContainsFunc(c.Bootstrap, func(own string) bool {
		return hostport.CanonicalAddress(own) == hostport.CanonicalAddress(address)
	})
}

// Unused returns the clients that bootstrap at none of the listeners' advertised addresses.
func Unused(advertised []string, clients []Client) []Client {
	return slices.DeleteFunc(slices.Clone(clients), func(c Client) bool {
		return len(c.Bootstrap) == 0 || slices.ContainsFunc(advertised, c.For)
	})
}

// check is one run of Check.
type check struct {
	*Options
	isRunning bool // Running is checked
	words     *words
	parts     config.Parts
	plan      *config.Plan  // of Config
	proxy     *proxy.Proxy  // of Config
	tries     chan struct{} // holds an element for each attempt that runs
	hosts     []net.Addr    // addresses of this machine

	counts sync.Mutex // guards the following
	done   int
	all    int
}

// Check connects to the clusters, and then to the listeners' advertised addresses. It returns
// when all have been tried, each within its time, or when ctx ends; then the report has the
// findings until then. The error is that of a configuration that cannot be used.
func Check(ctx context.Context, o *Options) (*Report, error) {
	options := *o
	c := &check{Options: &options, words: &ofConfiguration, tries: make(chan struct{}, maxTries)}
	c.hosts, _ = net.InterfaceAddrs() // none is known then
	if o.Running != nil {
		c.isRunning, c.Served, c.words, c.parts = true, true, &ofRunning, o.Running.Parts
		return reportOf(len(o.Running.Clusters), func(i int) findings { return c.running(ctx, &o.Running.Clusters[i]) }), nil
	}
	if o.Served {
		elsewhere := ofConfiguration
		elsewhere.machine = ofRunning.machine
		c.words = &elsewhere
	}
	conf := *o.Config
	conf.Logger, conf.Observer, conf.StateDir = nil, nil, ""
	c.parts = conf.Parts
	conf.Clusters = c.withLogins(conf.Clusters)
	var err error
	if c.plan, err = conf.Compile(); err != nil {
		return nil, err
	}
	if c.proxy, err = proxy.New(&conf); err != nil {
		return nil, err
	}
	defer c.proxy.Shutdown(context.Background())
	responds := make([]bool, len(c.plan.Clusters))
	r := reportOf(len(c.plan.Clusters), func(i int) findings {
		cc := &clusterCheck{check: c, conf: c.plan.Clusters[i], login: loginOf(o.Config.Clusters[i], c.clientOfCluster(o.Config.Clusters[i]))}
		cc.run(ctx)
		responds[i] = cc.responds
		return cc.findings
	})
	if !slices.Contains(responds, true) {
		r.excuseUnready()
	}
	return r, nil
}

// reportOf collects the findings about n clusters.
func reportOf(n int, of func(i int) findings) *Report {
	parts := make([]findings, n)
	inTurn(n, func(i int) { parts[i] = of(i) })
	r := &Report{}
	for _, part := range parts {
		r.Findings = append(r.Findings, part.all...)
	}
	return r
}

// inTurn calls f for each of n parts, for maxParts at the same time.
func inTurn(n int, f func(i int)) {
	places := make(chan struct{}, maxParts)
	var running sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	running.Wait()
}

// each calls f for each of n addresses, for maxTries of all at the same time, and bounds the
// time of each, and of all. tried reports for each whether its attempt has a result: there was
// time for it, and ctx has not ended it.
func (c *check) each(whole context.Context, n int, f func(ctx context.Context, i int)) (tried []bool) {
	ctx, cancel := context.WithTimeout(whole, stepTime)
	defer cancel()
	c.count(n, 0)
	var trying sync.WaitGroup
	tried = make([]bool, n)
	for i := range n {
		trying.Go(func() {
			defer c.count(0, 1)
			select {
			case c.tries <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-c.tries }()
			if ctx.Err() != nil {
				return
			}
			one, cancel := context.WithTimeout(ctx, tryTime)
			defer cancel()
			f(one, i)
			tried[i] = whole.Err() == nil
		})
	}
	trying.Wait()
	return tried
}

// untried is the number of attempts without a result.
func untried(tried []bool) (n int) {
	for _, is := range tried {
		if !is {
			n++
		}
	}
	return n
}

func (c *check) count(more, done int) {
	c.counts.Lock()
	c.all, c.done = c.all+more, c.done+done
	all, now := c.all, c.done
	c.counts.Unlock()
	if c.Progress != nil {
		c.Progress(now, all)
	}
}

// clientOf is the client by which a listener is tried; nil: there is none.
func (c *check) clientOf(bootstrap string) *Client {
	for i := range c.Clients {
		if c.Clients[i].For(bootstrap) {
			return &c.Clients[i]
		}
	}
	for i := range c.Clients {
		if len(c.Clients[i].Bootstrap) == 0 {
			return &c.Clients[i]
		}
	}
	return nil
}

// clientOfCluster is the client whose login passes through kproxy to a cluster; nil: there is
// none, or kproxy logs in itself.
func (c *check) clientOfCluster(cluster config.Cluster) *Client {
	if cluster.SASL != nil {
		return nil
	}
	for i := range cluster.Listeners {
		l := &cluster.Listeners[i]
		if l.Login != nil {
			continue
		}
		advertised := l.Advertise
		if advertised == "" {
			advertised = l.Bind
		}
		if client := c.clientOf(advertised); client != nil && client.SASL != nil {
			return client
		}
	}
	return nil
}

// withLogins returns the clusters, each without a login of its own with that of a client, which
// passes through kproxy.
func (c *check) withLogins(clusters []config.Cluster) []config.Cluster {
	clusters = slices.Clone(clusters)
	for i := range clusters {
		if client := c.clientOfCluster(clusters[i]); client != nil {
			login := *client.SASL
			login.AllowPlaintext = true // kproxy passes the client's login on as it comes
			clusters[i].SASL = &login
		}
	}
	return clusters
}

// loginOf names the login of a cluster's upstream connections.
func loginOf(cluster config.Cluster, client *Client) string {
	switch {
	case cluster.SASL != nil:
		return "clusters." + cluster.Name + ".sasl"
	case client != nil:
		return client.File
	default:
		return ""
	}
}

// proberOptions are a cluster's, for connections to ports whose protocol is not known.
func proberOptions(conf *config.ClusterPlan) *connect.Options {
	return &connect.Options{
		Addresses: conf.Bootstrap, TLS: conf.TLS, SASL: conf.SASL, Via: conf.Via, Parts: conf.Parts, Timeout: tryTime,
		Say: func(string) {},
	}
}
