package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
)

const (
	// MinRequestBytes is the least MaxRequestBytes that lets every client
	// bootstrap: ApiVersions and Metadata requests stay well below it.
	MinRequestBytes = 1 << 10

	// MinHeldBytes is the least MaxHeldBytes: a few large responses fit.
	MinHeldBytes = 1 << 20
	// maxKeepalive is Linux's own limit (MAX_TCP_KEEPIDLE). The kernel refuses larger values,
	// and the connection would have Go's default.
	maxKeepalive = 32767 * time.Second
)

// Error is one mistake in a Config.
type Error struct {
	Key     string // path in the configuration file, such as clusters.orders.listeners.fred.nodes.ports
	Problem string
	Fix     string
}

// Error returns the key, the problem and its fix in one line.
func (e *Error) Error() string {
	return e.Key + ": " + e.Problem + "; " + e.Fix
}

// validator collects mistakes, and the addresses and names of all clusters and listeners for
// the checks that compare them.
type validator struct {
	errs      []error
	binds     binds
	upstreams []knownUpstream
	named     map[address][]*ListenerPlan // listeners with Nodes.SNI, by the socket that they share

	maxConnections int // Config.MaxConnections, which bounds every listener's
	parts          Parts
}

func (v *validator) add(key, problem, fix string) {
	v.errs = append(v.errs, &Error{Key: key, Problem: problem, Fix: fix})
}

// addErr adds the error about an address.
func (v *validator) addErr(key string, err error) {
	problem, fix := err.Error(), "write host:port, such as 127.0.0.1:9092"
	if bad, ok := errors.AsType[*hostport.Error](err); ok {
		problem, fix = bad.Problem, bad.Fix
	}
	v.add(key, problem, fix)
}

// admin checks that no listener has the admin server's address.
func (v *validator) admin(text string) {
	const key = "admin.bind"
	if text == "" {
		return
	}
	at, err := parse(text)
	if err != nil {
		v.addErr(key, err)
		return
	}
	v.claim(bound{key: key, address: at}, nil)
}

func (v *validator) duration(key string, d time.Duration) {
	if d < 0 {
		v.add(key, fmt.Sprintf("%s is negative", d), "write a positive duration, such as 10s")
	}
}

// NamePattern matches valid names of clusters and listeners: lower-case DNS labels. Names
// become parts of environment variables, log lines, metrics and host names.
const NamePattern = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`

var dnsLabel = regexp.MustCompile(NamePattern)

// name checks the name of a cluster or listener, and that no sibling has the same one.
func (v *validator) name(key, name string, seen map[string]bool) {
	if !dnsLabel.MatchString(name) {
		v.add(key, fmt.Sprintf("the name %q is no lower-case DNS label", name), "use up to 63 of a-z, 0-9 and -, with no - at either end")
	}
	if seen[name] {
		v.add(key, fmt.Sprintf("the name %q is used twice", name), "rename one of them")
	}
	seen[name] = true
}

// cluster checks a cluster and its listeners, and fills in the plan.
func (v *validator) cluster(c *ClusterPlan) {
	key := c.Key
	if !slices.Contains([]HeaderVersion{"", HeaderV1, HeaderV2}, c.ProxyProtocol) {
		v.add(key+".proxy_protocol", fmt.Sprintf("%q is neither v1 nor v2", c.ProxyProtocol), "write the version that the load balancer in front of the brokers takes; Kafka itself takes none")
	}
	if !slices.Contains([]UnknownAPIs{"", HideUnknownAPIs, PassUnknownAPIs}, c.UnknownAPIs) {
		v.add(key+".unknown_apis", fmt.Sprintf("%q is neither hide nor pass", c.UnknownAPIs), "write hide, unless clients need an API that this kproxy does not know")
	}
	v.duration(key+".connect_timeout", c.ConnectTimeout)
	v.duration(key+".keepalive", c.Keepalive)
	v.duration(key+".forget_after", c.ForgetAfter)
	var err error
	if c.Admitted, err = upstream.CompileDialPolicy(c.Brokers); err != nil {
		v.admission(key+".brokers", err)
	}
	if c.Keepalive > maxKeepalive {
		v.add(key+".keepalive", fmt.Sprintf("%s is more than the kernel takes", c.Keepalive), fmt.Sprintf("write %s or less; the default is %s", maxKeepalive, DefaultKeepalive))
	}
	v.via(key, c)
	v.source(key, c)
	if c.TLS != nil {
		v.tls(key, tlsconf.ClientConfig(*c.TLS).Validate())
	}
	v.sasl(key, c.SASL)
	v.bootstrap(key, c)

	if len(c.Cluster.Listeners) == 0 {
		v.add(key+".listeners", "there is no listener", `add one, such as {local: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9199}}}`)
	}
	seen := make(map[string]bool)
	for i := range c.Cluster.Listeners {
		v.compileListener(c, &c.Cluster.Listeners[i], seen)
	}
}
