package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"kproxy/internal/connect"
	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/speaks"
	"kproxy/internal/upstream"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// clusterCheck is the check of one cluster.
type clusterCheck struct {
	*check
	findings

	conf  *config.ClusterPlan
	login string // names the login of connections to the brokers; "": there is none

	prober *connect.Prober
	user   doctor.User
	id     string           // the cluster's; "": it is not known
	named  []connect.Broker // all brokers, by id; none: they are not known
	tried  *connect.Cluster // with those brokers that are tried; nil: none are

	responds bool // a bootstrap address does
}

// run checks the brokers, and then the listeners.
func (c *clusterCheck) run(ctx context.Context) {
	c.prober = connect.NewProber(c.proxy, c.conf.Name, proberOptions(c.conf), nil)
	c.user = doctor.User{Addresses: c.conf.Bootstrap, TLS: c.conf.TLS, SASL: c.conf.SASL, Via: connect.Far(c.conf.Via.URL)}
	if c.conf.TLS != nil {
		c.user.Trusted = c.conf.TLS.CA
	}
	c.bootstraps(ctx)
	c.nodes(ctx)
	parts := make([]findings, len(c.conf.Listeners))
	inTurn(len(parts), func(i int) {
		l := &listenerCheck{clusterCheck: c, conf: c.conf.Listeners[i]}
		l.run(ctx)
		parts[i] = l.findings
	})
	for _, part := range parts {
		c.findings.all = append(c.findings.all, part.all...)
	}
}

// known returns the facts that the check of the brokers has found.
func (c *clusterCheck) known() *knownCluster {
	known := &knownCluster{id: c.id, named: c.named, faulted: map[int32]bool{proxy.NoNode: len(c.named) == 0}}
	for _, f := range c.findings.all {
		if f.Level == Fault && f.Node != nil {
			known.faulted[*f.Node] = true
		}
	}
	return known
}

// attempt is the attempt at one address.
type attempt struct {
	cluster *connect.Cluster
	named   []connect.Broker
	known   bool
	err     error
	peer    speaks.Peer
	remote  net.Addr // of the connection, if it was opened
}

// bootstraps asks each bootstrap address for the brokers.
func (c *clusterCheck) bootstraps(ctx context.Context) {
	addresses := c.conf.Bootstrap[:min(len(c.conf.Bootstrap), maxNodes)]
	attempts := make([]attempt, len(addresses))
	tried := c.each(ctx, len(addresses), func(ctx context.Context, i int) {
		a := &attempts[i]
		prober := connect.NewProber(c.proxy, c.conf.Name, proberOptions(c.conf), func(conn net.Conn) { a.remote = conn.RemoteAddr() })
		a.cluster, a.err = prober.Brokers(ctx, addresses[i])
		a.peer = c.speaks(ctx, addresses[i], c.conf.Targets[i], a.err)
	})
	var first *connect.Cluster
	for i := range attempts {
		if found := attempts[i].cluster; found != nil && (first == nil || first.NeedsLogin && !found.NeedsLogin) {
			first = found
		}
	}
	c.responds = first != nil
	for i := range attempts {
		if !tried[i] {
			c.note(bootstrapKey(c.conf, i), NotChecked, "there was no time to try "+addresses[i], "")
			continue
		}
		c.bootstrap(bootstrapKey(c.conf, i), addresses[i], &attempts[i], first)
	}
	if more := len(c.conf.Bootstrap) - len(addresses); more > 0 {
		c.note(c.conf.Key+".bootstrap", NotChecked, fmt.Sprintf("%d more bootstrap addresses were not tried", more), "")
	}
	if first != nil && !first.NeedsLogin {
		c.id, c.named = first.ID, first.Brokers
	}
}

func bootstrapKey(conf *config.ClusterPlan, i int) string {
	return fmt.Sprintf("%s.bootstrap[%d]", conf.Key, i)
}

// bootstrap judges the attempt at one bootstrap address.
func (c *clusterCheck) bootstrap(key, address string, a *attempt, first *connect.Cluster) {
	own := c.ownAddress(a.remote)
	switch {
	case own != "":
		c.add(Finding{
			Level: Fault, Key: key, Kind: Loop, Address: address,
			Says: fmt.Sprintf("%s leads to %s, which %s binds: bootstrap leads to kproxy itself", address, a.remote, own),
			Fix:  "lead bootstrap to the brokers themselves",
		})
	case a.err != nil:
		c.add(c.upstreamFault(key, upstream.NoNode, address, a))
	case a.cluster.NeedsLogin:
		c.note(key, NotChecked, address+" responds, and the cluster names its brokers after a login"+offered(a.cluster.Mechanisms)+": the brokers were not tried",
			"name the configuration of a client that logs in, or give the cluster sasl")
	case first.ID != a.cluster.ID:
		c.fault(key, Kind(doctor.Stranger), fmt.Sprintf("%s is an address of another cluster, %q, than the first one, %q", address, foreign.Line(a.cluster.ID), foreign.Line(first.ID)),
			"leave it out: all bootstrap addresses have to be of one cluster")
	default:
		c.ok(key, Responds, fmt.Sprintf("%s responds, cluster %q, %s", address, foreign.Line(a.cluster.ID), counted(len(a.cluster.Brokers), "broker")))
	}
}

// offered is a list of mechanisms for a sentence.
func offered(mechanisms []string) string {
	if len(mechanisms) == 0 {
		return ""
	}
	return " by " + foreign.Line(strings.Join(mechanisms, ", "))
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// nodes tries each broker.
func (c *clusterCheck) nodes(ctx context.Context) {
	if len(c.named) == 0 {
		return
	}
	objections := c.objections()
	c.tried = &connect.Cluster{ID: c.id}
	for i, b := range c.named[:min(len(c.named), maxNodes)] {
		if f, bad := objections[i]; bad {
			c.add(f)
			continue
		}
		c.tried.Brokers = append(c.tried.Brokers, b)
	}
	if more := len(c.named) - maxNodes; more > 0 {
		c.note(c.conf.Key, NotChecked, fmt.Sprintf("%d more brokers were not tried: the first %d are, by node id", more, maxNodes), "")
	}
	attempts := make([]attempt, len(c.tried.Brokers))
	tried := c.each(ctx, len(attempts), func(ctx context.Context, i int) {
		a, b := &attempts[i], c.tried.Brokers[i]
		at, ok := c.dialled(b)
		if !ok {
			a.err = doctor.ErrNoAddress
			return
		}
		a.named, a.known, a.err = c.prober.Meet(ctx, c.tried, at)
		a.peer = c.speaks(ctx, addressOf(b), targetOf(b), a.err)
	})
	var good, unknown []int32
	for i := range attempts {
		switch a, b := &attempts[i], c.tried.Brokers[i]; {
		case !tried[i]:
		case a.err != nil:
			f := c.upstreamFault(c.nodeKey(b), b.Node, addressOf(b), a)
			f.Node = &b.Node
			c.add(f)
		case a.known || len(c.tried.Brokers) == 1:
			good = append(good, b.Node)
		default:
			unknown = append(unknown, b.Node)
		}
	}
	if len(good) > 0 {
		c.ok(c.conf.Key, Responds, nodesText(good)+" "+verb(good, "responds as itself", "respond, each as itself"))
	}
	if len(unknown) > 0 {
		c.note(c.conf.Key, NotChecked, nodesText(unknown)+" "+verb(unknown, "responds", "respond")+", and whether each is itself is not known: the user may not describe the brokers' configuration",
			grant)
	}
	if n := untried(tried); n > 0 {
		c.note(c.conf.Key, NotChecked, "there was no time to try "+counted(n, "broker"), "")
	}
}

// dialled is a broker with an address that can be dialled. If a rule for the node decides, its own
// address need not be one.
func (c *clusterCheck) dialled(b connect.Broker) (at connect.Broker, ok bool) {
	host, _, err := hostport.Parse(addressOf(b))
	if err == nil && !hostport.IsWildcard(host) {
		return b, true
	}
	fixed, ok := c.conf.Rules.Fixed(b.Node)
	if !ok {
		return b, false
	}
	b.Host, b.Port, err = hostport.Parse(fixed)
	return b, err == nil
}

func addressOf(b connect.Broker) string { return hostport.Join(b.Host, b.Port) }

func targetOf(b connect.Broker) upstream.Target {
	return upstream.Target{Node: b.Node, Host: b.Host, Port: b.Port}
}

// objections are the faults of the list of brokers itself, by its index.
func (c *clusterCheck) objections() map[int]Finding {
	bad := map[int]Finding{}
	seen := map[int32]bool{}
	targets := make([]upstream.Target, len(c.named))
	for i, b := range c.named {
		targets[i] = targetOf(b)
		if b.Node < 0 || seen[b.Node] {
			bad[i] = Finding{
				Level: Fault, Key: c.conf.Key, Kind: Kind(doctor.BadID), Node: &b.Node, Address: addressOf(b),
				Says: fmt.Sprintf("the id %d of the broker at %s is negative, or another broker's too", b.Node, foreign.Line(addressOf(b))),
				Fix:  "give each broker a node.id (broker.id) of its own, from 0",
			}
		}
		seen[b.Node] = true
	}
	for _, i := range c.conf.Rules.Conflicts(targets) {
		b := c.named[i]
		at, rule, _ := c.conf.Rules.Resolve(targets[i])
		f := Finding{Level: Fault, Key: c.conf.Key, Kind: Kind(doctor.SameAddress), Node: &b.Node, Address: at}
		f.Says = fmt.Sprintf("node %d has the address %s, which is another node's too; clients do not get it", b.Node, foreign.Line(at))
		f.Fix = "have each broker advertise an address of its own, or give the node a dial rule"
		if rule != upstream.NoRule {
			f.Key, f.Kind = fmt.Sprintf("%s.dial[%d]", c.conf.Key, rule), RuleConflict
			f.Says = fmt.Sprintf("the rule leads node %d to %s, which is another node's address; clients do not get it", b.Node, foreign.Line(at))
			f.Fix = "give the node a dial rule of its own"
		}
		bad[i] = f
	}
	return bad
}

// nodeKey is the key that decides where a broker is dialled: its rule, or the cluster.
func (c *clusterCheck) nodeKey(b connect.Broker) string {
	if _, rule, _ := c.conf.Rules.Resolve(targetOf(b)); rule != upstream.NoRule {
		return fmt.Sprintf("%s.dial[%d]", c.conf.Key, rule)
	}
	return c.conf.Key
}

// speaks finds the protocol at the address at which a target is dialled, if err does not say.
// A port behind a balancer that wants a PROXY header is not asked: the question would have none.
func (c *clusterCheck) speaks(ctx context.Context, address string, t upstream.Target, err error) speaks.Peer {
	if err == nil || c.conf.ProxyProtocol != "" {
		return speaks.Peer{}
	}
	if at, _, bad := c.conf.Rules.Resolve(t); bad == nil {
		address = at
	}
	return c.prober.Speaks(ctx, address, err)
}

// upstreamFault is the fault of an attempt at a broker.
func (c *clusterCheck) upstreamFault(key string, node int32, address string, a *attempt) Finding {
	v, _, reason, _ := doctor.Judge(doctor.Case{User: &c.user, Node: node, Address: address, Err: a.err, Peer: a.peer})
	f := Finding{Level: Fault, Key: key, Kind: Kind(v), Address: address}
	who := foreign.LineOf(address, maxAddress)
	t := upstream.Target{Node: node}
	if host, port, err := hostport.Parse(address); err == nil {
		t.Host, t.Port = host, port
	}
	if at, rule, err := c.conf.Rules.Resolve(t); err == nil && rule != upstream.NoRule {
		who += ", dialled at " + foreign.LineOf(at, maxAddress)
	}
	if node != upstream.NoNode {
		who = fmt.Sprintf("node %d, %s", node, who)
	}
	f.Says = who + ": " + reason
	_, isLoop := errors.AsType[*upstream.LoopError](a.err)
	switch {
	case isLoop:
		f.Kind, f.Fix = Loop, "lead it to the broker itself"
	case errors.Is(a.err, syscall.EADDRNOTAVAIL) && len(c.conf.Sources) > 0:
		f.Key, f.Fix = c.conf.Key+".source", "name an address that this machine or pod has"
	default:
		f.Key, f.Fix = c.upstreamFix(key, node, v, a.err)
	}
	return f
}

// ownAddress is the key of a listener that binds the address to which a connection leads; "":
// none does, or another machine opened the connection.
func (c *clusterCheck) ownAddress(remote net.Addr) string {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok || c.conf.Via.URL != "" || !c.isHere(tcp.IP) {
		return ""
	}
	for _, cluster := range c.plan.Clusters {
		for _, l := range cluster.Listeners {
			if binds(l.Bind, tcp) {
				return l.Key
			}
			for slot := range l.Slots() {
				if binds(l.BindAddress(slot), tcp) {
					return l.Key
				}
			}
		}
	}
	return ""
}

// binds reports whether a socket bound to an address gets connections to one of this machine.
func binds(address string, to *net.TCPAddr) bool {
	host, port, err := hostport.Parse(address)
	return err == nil && int(port) == to.Port && (hostport.IsWildcard(host) || hostport.Bound(host) == hostport.Bound(to.IP.String()))
}

// isHere reports whether an address is one of this machine's.
func (c *check) isHere(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	for _, a := range c.hosts {
		if own, ok := a.(*net.IPNet); ok && own.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// nodesText names nodes by ranges of ids: "nodes 0-2, 7".
func nodesText(ids []int32) string {
	const few = 8
	var runs []string
	for i := 0; i < len(ids); {
		last := i
		for last+1 < len(ids) && ids[last+1] == ids[last]+1 {
			last++
		}
		run := fmt.Sprint(ids[i])
		if last > i {
			run += "-" + fmt.Sprint(ids[last])
		}
		runs = append(runs, run)
		i = last + 1
	}
	if more := len(runs) - few; more > 0 {
		runs = append(runs[:few], counted(more, "more range"))
	}
	return verb(ids, "node ", "nodes ") + strings.Join(runs, ", ")
}

func verb(ids []int32, one, several string) string {
	if len(ids) == 1 {
		return one
	}
	return several
}
