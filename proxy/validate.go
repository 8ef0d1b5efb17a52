package proxy

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
	// maxKeepalive is Linux's own limit (MAX_TCP_KEEPIDLE); what is beyond it
	// the kernel refuses, and the connection would have Go's default.
	maxKeepalive = 32767 * time.Second
)

// ConfigError is one mistake in a Config.
type ConfigError struct {
	Key     string // path in the configuration file, such as clusters.orders.listeners.fred.nodes.ports
	Problem string
	Fix     string
}

// Error is the key, the problem and its fix in one line.
func (e *ConfigError) Error() string {
	return e.Key + ": " + e.Problem + "; " + e.Fix
}

// Validate finds every mistake that can be found without opening a socket or
// asking a broker. The error joins one [*ConfigError] for each; nil says that
// New takes the Config.
func (c *Config) Validate() error {
	v := validator{maxConnections: c.MaxConnections}
	v.limits(c)
	if len(c.Clusters) == 0 {
		v.add("clusters", "there is no cluster", "add one with its bootstrap addresses and a listener")
	}
	seen := make(map[string]bool)
	for i := range c.Clusters {
		cluster := &c.Clusters[i]
		key := "clusters." + cluster.Name
		v.name(key, cluster.Name, seen)
		v.cluster(key, cluster)
	}
	v.sharedNames()
	v.admin(c.AdminBind)
	v.loops()
	return errors.Join(v.errs...)
}

// validator collects mistakes, and what can only be judged when every cluster
// and listener has been seen.
type validator struct {
	errs      []error
	binds     binds
	upstreams []knownUpstream
	named     map[string][]namedListener // by canonical bind

	maxConnections int // Config.MaxConnections, which bounds every listener's
}

func (v *validator) add(key, problem, fix string) {
	v.errs = append(v.errs, &ConfigError{Key: key, Problem: problem, Fix: fix})
}

// addErr adds what is wrong with an address.
func (v *validator) addErr(key string, err error) {
	problem, fix := err.Error(), "write host:port, such as 127.0.0.1:9092"
	if bad, ok := errors.AsType[*hostport.Error](err); ok {
		problem, fix = bad.Problem, bad.Fix
	}
	v.add(key, problem, fix)
}

// admin checks that no listener has the admin server's address.
func (v *validator) admin(address string) {
	const key = "admin.bind"
	if address == "" {
		return
	}
	if _, _, err := hostport.Parse(address); err != nil {
		v.addErr(key, err)
		return
	}
	v.claim(bound{key: key, address: address}, nil)
}

func (v *validator) duration(key string, d time.Duration) {
	if d < 0 {
		v.add(key, fmt.Sprintf("%s is less than nothing", d), "write a positive duration, such as 10s")
	}
}

// NamePattern is what the name of a cluster or listener may be: a lower-case
// DNS label. Names become parts of environment variables, log lines and
// metrics, and later of host names.
const NamePattern = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`

var dnsLabel = regexp.MustCompile(NamePattern)

// name checks the name of a cluster or listener, and that its siblings have
// others.
func (v *validator) name(key, name string, seen map[string]bool) {
	if !dnsLabel.MatchString(name) {
		v.add(key, fmt.Sprintf("the name %q is no lower-case DNS label", name), "use up to 63 of a-z, 0-9 and -, with no - at either end")
	}
	if seen[name] {
		v.add(key, fmt.Sprintf("the name %q is used twice", name), "rename one of them")
	}
	seen[name] = true
}

func (v *validator) cluster(key string, c *Cluster) {
	if !slices.Contains([]HeaderVersion{"", HeaderV1, HeaderV2}, c.ProxyProtocol) {
		v.add(key+".proxy_protocol", fmt.Sprintf("%q is neither v1 nor v2", c.ProxyProtocol), "write the version that the load balancer in front of the brokers takes; Kafka itself takes none")
	}
	if !slices.Contains([]UnknownAPIs{"", HideUnknownAPIs, PassUnknownAPIs}, c.UnknownAPIs) {
		v.add(key+".unknown_apis", fmt.Sprintf("%q is neither hide nor pass", c.UnknownAPIs), "write hide, unless clients need an API that this kproxy does not know")
	}
	v.duration(key+".connect_timeout", c.ConnectTimeout)
	v.duration(key+".keepalive", c.Keepalive)
	v.duration(key+".forget_after", c.ForgetAfter)
	if _, err := upstream.CompileAdmission(c.Brokers); err != nil {
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

	if len(c.Listeners) == 0 {
		v.add(key+".listeners", "there is no listener", `add one, such as {local: {bind: "127.0.0.1:9092", nodes: {ports: 9100-9199}}}`)
	}
	seen := make(map[string]bool)
	for i := range c.Listeners {
		l := c.Listeners[i].in(c.Name)
		lkey := key + ".listeners." + l.Name
		v.name(lkey, l.Name, seen)
		v.listener(lkey, &l)
	}
}
