package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"kproxy/internal/connect"
	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// walk is the check of a listener from the outside. It connects to the advertised addresses as
// a client does: to bootstrap, and then to each node. "Leads here" means that an endpoint
// responds as this listener does: it is of this cluster, and names this listener's addresses. A
// replica of kproxy does so too.
type walk struct {
	*check
	findings

	cluster *knownCluster
	of      *Listener
	isOwn   func(address string) bool // reports whether the listener may advertise an address
	client  *Client                   // nil: there is none

	// withholds reports that the client's login is not sent to the nodes' endpoints: the admin server alone
	// names them, and the bootstrap endpoint, which the client's own file may name, does not.
	withholds bool

	unresolved map[string]bool // advertised hosts
	unnamed    map[int32]bool  // nodes that the cluster does not name now
	shown      certificates
}

// knownCluster has the facts about a cluster with which its listeners are compared.
type knownCluster struct {
	id      string           // "": it is not known
	named   []connect.Broker // all brokers, by id; none: they are not known
	faulted map[int32]bool   // nodes with a fault of their own; proxy.NoNode: no broker responds
}

// run looks up the advertised names, and tries the addresses unless they are to be skipped.
func (l *walk) run(ctx context.Context, isSkipped bool) {
	l.client = l.clientOf(l.of.Advertised)
	l.resolve(ctx)
	if isSkipped {
		l.note(l.of.Key, NotChecked, "the kproxy that runs does not have this listener as the configuration has it: the way of clients was not tried", "")
		return
	}
	var a attempt
	state := l.bootstrap(ctx, &a)
	if state == stop {
		if l.isRunning { // the handshake may have come further
			l.judgeCertificates()
		}
		return
	}
	l.withholds = l.isRunning && state != heard && l.hasLogin()
	good, wanted := l.walkNodes(ctx, state == heard)
	l.judgeCertificates(good, wanted)
	good = slices.DeleteFunc(good, func(node int32) bool { return l.isBad(l.of.Endpoints[node].Advertised) })
	switch {
	case state == goOn && l.isRunning && len(good) > 0:
		l.ok(l.of.Key, Responds, nodesText(good)+" "+verb(good, "responds as itself", "respond, each as itself"))
	case state != heard || l.isBad(l.of.Advertised):
	case len(good) > 0:
		l.ok(l.of.Key, Served, fmt.Sprintf("%s and %s respond as this listener; clients hear its addresses alone", l.of.Advertised, nodesText(good)))
	case l.isRunning && len(l.of.Endpoints) == 0: // there is nothing to compare it with
		l.ok(l.of.BootstrapKey, Responds, l.of.Advertised+" responds")
	case len(l.cluster.named) == 0:
		l.ok(l.of.Key, Served, l.of.Advertised+" responds as this listener; clients hear its addresses alone")
	}
	if state == needsLogin || len(wanted) > 0 {
		l.needsLogin(&a, state == needsLogin, wanted)
	}
}

// bootstrapState is the result of the attempt at a bootstrap endpoint.
type bootstrapState int

const (
	stop       bootstrapState = iota // the nodes' endpoints are not tried
	goOn                             // a fault; the nodes' endpoints may have others
	needsLogin                       // it responds, and clients log in
	heard                            // it names the listener's addresses
)

// bootstrap tries the bootstrap endpoint.
func (l *walk) bootstrap(ctx context.Context, a *attempt) bootstrapState {
	afterFault := stop
	if l.isRunning {
		afterFault = goOn // kproxy serves: each address is led there by itself
	}
	if l.unresolved[hostOf(l.of.Advertised)] {
		return afterFault
	}
	tried := l.each(ctx, 1, func(ctx context.Context, _ int) {
		a.err = l.options().Probe(nil, l.shown.at(l.of.Advertised), func(p *connect.Prober) (err error) {
			if a.cluster, err = p.Brokers(ctx, l.of.Advertised); err != nil {
				a.peer = p.Speaks(ctx, l.of.Advertised, err)
			}
			return err
		})
	})
	switch {
	case !tried[0]:
		l.note(l.of.BootstrapKey, NotChecked, "there was no time to try "+l.of.Advertised, "")
		return stop
	case a.err != nil:
		step := doctor.FailedStep(a.err)
		if l.bootstrapFails(ctx, a) != Fault || step == doctor.TLS || step == doctor.Login {
			return stop // the nodes would refuse the client, too; many wrong passwords lock a user out
		}
		return afterFault
	case a.cluster.NeedsLogin:
		return needsLogin
	case !l.heard(ctx, a):
		return goOn
	}
	return heard
}

// options are those of a client of the listener. Without a client's configuration they have
// no login, and accept every certificate: the names in it are compared afterwards.
func (l *walk) options() *connect.Options {
	o := &connect.Options{Addresses: []string{l.of.Advertised}, Parts: l.parts, Timeout: tryTime, Say: func(string) {}}
	switch {
	case l.client != nil:
		o.TLS, o.SASL = l.client.TLS, l.client.SASL
		if l.withholds {
			o.SASL = nil
		}
	case l.of.TLS:
		o.TLS = &config.UpstreamTLS{InsecureSkipVerify: true}
	}
	return o
}

// hasLogin reports whether the client's configuration has a login.
func (l *walk) hasLogin() bool { return l.client != nil && l.client.SASL != nil }

// needsLogin is the note about a listener whose clients log in, where the check cannot. wanted
// are the nodes whose endpoints respond so.
func (l *walk) needsLogin(a *attempt, isBootstrap bool, wanted []int32) {
	why := "name the configuration of a client that logs in"
	switch {
	case l.withholds:
		why = "correct the fault of the bootstrap endpoint first: the login in " + l.client.File + " is only sent to addresses that it names"
	case l.client != nil:
		why = "write a login into " + l.client.File
	case l.isRunning:
		why += " (--config-from)"
	}
	who, responds, mechanisms := l.of.Advertised, " responds", ""
	if isBootstrap {
		mechanisms = offered(a.cluster.Mechanisms)
	}
	switch {
	case len(wanted) == 0:
	case isBootstrap:
		who, responds = who+" and "+nodesText(wanted), " respond"
	default:
		who, responds = nodesText(wanted), verb(wanted, " responds", " respond")
	}
	untried := "and whether each endpoint leads to its node, were not checked"
	if len(wanted) == 0 {
		untried = "and each node's endpoint, were not tried"
	}
	l.note(l.of.Key, NotChecked, who+responds+", and clients log in"+mechanisms+": the addresses that they hear, "+untried, why)
}

// heard compares the brokers that the bootstrap endpoint names with the listener's addresses.
func (l *walk) heard(ctx context.Context, a *attempt) (good bool) {
	if l.cluster.id != "" && a.cluster.ID != l.cluster.id {
		says := fmt.Sprintf("another cluster, %q, responds there", foreign.Line(a.cluster.ID))
		if !l.Served && !l.isServed(ctx) {
			says += ", and no process listens at " + l.of.Bind
		}
		l.add(l.elsewhere(l.of.BootstrapKey, l.of.Advertised, says))
		return false
	}
	if f, bad := l.judgeHeard(l.of.BootstrapKey, l.of.Advertised, a.cluster.Brokers); bad {
		l.add(f)
		return false
	}
	l.unnamed = map[int32]bool{}
	for node := range l.of.Endpoints {
		l.unnamed[node] = true
	}
	for _, b := range a.cluster.Brokers {
		delete(l.unnamed, b.Node)
	}
	if len(l.unnamed) == 0 {
		return true
	}
	left := slices.Sorted(maps.Keys(l.unnamed))
	if l.isRunning {
		l.note(l.of.Key, NotChecked, "the cluster does not name "+nodesText(left)+", which kproxy remembers: down, or removed; the "+verb(left, "endpoint was", "endpoints were")+" not tried",
			"if it is to be there, see whether the broker runs")
		return true
	}
	l.unnamed = nil // each has a fault of its own
	l.add(Finding{
		Level: Fault, Key: l.of.Key, Kind: LeftOut, Address: l.of.Advertised,
		Says: fmt.Sprintf("%s does not name %s, which the cluster has", l.of.Advertised, nodesText(left)),
		Fix:  "if the kproxy that runs has another configuration, start it with this one; its log has nodes that are left out",
	})
	return false
}

// judgeHeard is the fault of the brokers that an endpoint names.
func (l *walk) judgeHeard(key, address string, heard []connect.Broker) (f Finding, bad bool) {
	if len(heard) == 0 {
		return l.elsewhere(key, address, "it names no brokers"), true
	}
	for _, b := range heard {
		at := hostport.CanonicalAddress(addressOf(b))
		own, isKnown := l.of.Endpoints[b.Node]
		shown := foreign.LineOf(addressOf(b), maxAddress)
		switch isOwn := l.isOwn(at); {
		case isKnown && at == hostport.CanonicalAddress(own.Advertised), isOwn && (!isKnown || own.isLoose):
			continue
		case isOwn:
			return Finding{
				Level: Fault, Key: l.of.NodesKey, Kind: OtherAddress, Node: &b.Node, Address: address,
				Says: fmt.Sprintf("%s names %s for node %d, and %s gives it %s", address, shown, b.Node, l.words.giver, own.Advertised),
				Fix:  l.words.otherAddress,
			}, true
		case slices.ContainsFunc(l.cluster.named, func(own connect.Broker) bool { return hostport.CanonicalAddress(addressOf(own)) == at }):
			return Finding{
				Level: Fault, Key: key, Kind: BrokerHeard, Node: &b.Node, Address: address,
				Says: fmt.Sprintf("%s names %s, node %d's own address: clients there bypass kproxy", address, shown, b.Node),
				Fix:  "lead the address to kproxy, and not to a broker: correct the DNS, the port mapping or the balancer",
			}, true
		case l.isRunning && !isKnown: // it may have joined since
			continue
		default:
			return l.elsewhere(key, address, fmt.Sprintf("it names %s for node %d, which is no address of this listener", shown, b.Node)), true
		}
	}
	return Finding{}, false
}

func (l *walk) elsewhere(key, address, why string) Finding {
	return Finding{
		Level: Fault, Key: key, Kind: Elsewhere, Address: address,
		Says: fmt.Sprintf("%s does not lead to this listener: %s", address, why),
		Fix:  "lead it to " + l.of.Bind + " on " + l.words.machine + ": correct the DNS, the port mapping or the balancer; or " + l.words.orElse,
	}
}

// walkNodes tries the endpoint of each node. It returns the nodes whose endpoints are good, and
// those whose endpoints want a login that the check does not have. isHeard reports whether the
// bootstrap endpoint names the listener's addresses: if it does not, the nodes' endpoints are not
// faulted for the same.
func (l *walk) walkNodes(ctx context.Context, isHeard bool) (good, wanted []int32) {
	ends := l.endpoints()
	attempts := make([]attempt, len(ends.Brokers))
	tried := l.each(ctx, len(attempts), func(ctx context.Context, i int) {
		a, b := &attempts[i], ends.Brokers[i]
		at := addressOf(b)
		a.err = l.options().Probe(map[int32]string{b.Node: at}, l.shown.at(at), func(p *connect.Prober) (err error) {
			if a.named, a.known, err = p.Meet(ctx, ends, b); err != nil {
				a.peer = p.Speaks(ctx, at, err)
			}
			return err
		})
	})
	var unknown []int32
	for i := range attempts {
		a, b := &attempts[i], ends.Brokers[i]
		if !tried[i] {
			continue
		}
		if errors.Is(a.err, proxy.ErrNeedsLogin) && (l.withholds || !l.hasLogin()) {
			wanted = append(wanted, b.Node)
			continue
		}
		f, bad := l.judgeEndpoint(b.Node, addressOf(b), a, isHeard)
		switch {
		case bad:
			l.add(f)
		case !a.known && len(ends.Brokers) > 1:
			unknown = append(unknown, b.Node)
		default:
			good = append(good, b.Node)
		}
	}
	if len(unknown) > 0 {
		l.note(l.of.Key, NotChecked, "which broker responds at the "+verb(unknown, "endpoint", "endpoints")+" of "+nodesText(unknown)+": the user may not describe the brokers' configuration", grant)
	}
	if n := untried(tried); n > 0 {
		l.note(l.of.Key, NotChecked, "there was no time to try "+counted(n, "endpoint"), "")
	}
	return good, wanted
}

// grant is the fix for a user that cannot ask brokers for their identity.
const grant = "grant DescribeConfigs on the cluster to the user of the check"

// judgeEndpoint is the fault of the attempt at a node's endpoint.
func (l *walk) judgeEndpoint(node int32, at string, a *attempt, isHeard bool) (f Finding, bad bool) {
	if a.err != nil {
		return l.downstreamFault(l.of.NodesKey, node, at, a), true
	}
	if isHeard {
		f, bad = l.judgeHeard(l.of.NodesKey, at, a.named)
		f.Node = &node
	}
	return f, bad
}

// endpoints are those nodes whose endpoints are tried, as brokers at their advertised addresses.
func (l *walk) endpoints() *connect.Cluster {
	ends := &connect.Cluster{ID: l.cluster.id}
	for _, node := range slices.Sorted(maps.Keys(l.of.Endpoints)) {
		e := l.of.Endpoints[node]
		if e.isUntried || e.isLoose || l.unnamed[node] { // with isLoose it may have another slot there
			continue
		}
		_, port, err := hostport.Parse(e.Advertised)
		if host := hostOf(e.Advertised); err == nil && !l.unresolved[host] {
			ends.Brokers = append(ends.Brokers, connect.Broker{Node: node, Host: host, Port: port})
		}
	}
	return ends
}

// hostOf is the host of an advertised address, in its canonical form.
func hostOf(address string) string {
	host, _, _ := hostport.Parse(address)
	return hostport.Canonical(host)
}

// isServed reports whether a process listens at the listener's bind address.
func (l *walk) isServed(ctx context.Context) bool {
	host, port, err := hostport.Parse(l.of.Bind)
	if err != nil {
		return false
	}
	hosts := []string{host}
	if hostport.IsWildcard(host) {
		hosts = []string{"127.0.0.1", "::1"}
	}
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	return slices.ContainsFunc(hosts, func(host string) bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", hostport.Join(host, port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}
