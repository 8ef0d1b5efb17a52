package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync"

	"kproxy/internal/connect"
	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// walk connects to the advertised addresses as a client does: to bootstrap, and then to each
// node. "Leads here" means that an endpoint responds as this listener does: it is of this
// cluster, and names this listener's addresses. A replica of kproxy does so too.
func (l *listenerCheck) walk(ctx context.Context, unresolved map[string]bool) {
	if host, _ := l.conf.AdvertisedBootstrap(); unresolved[host] {
		return
	}
	var a attempt
	var shown certificate
	tried := l.each(ctx, 1, func(ctx context.Context, _ int) {
		a.err = l.options().Probe(nil, shown.of, func(p *connect.Prober) (err error) {
			if a.cluster, err = p.Brokers(ctx, l.bootstrap); err != nil {
				a.peer = p.Speaks(ctx, l.bootstrap, err)
			}
			return err
		})
	})
	switch {
	case !tried[0]:
		l.note(l.bootstrapKey(), NotChecked, "there was no time to try "+l.bootstrap, "")
		return
	case a.err != nil:
		l.bootstrapFails(ctx, &a)
		return
	}
	isNamed := l.isNamed(&shown, l.bootstrap)
	if !isNamed {
		l.wrongNames([]string{l.bootstrap})
	}
	if a.cluster.NeedsLogin {
		l.needsLogin(&a)
		return
	}
	isHeard := l.heard(ctx, &a)
	nodes := l.walkNodes(ctx, unresolved, isHeard)
	switch {
	case !isHeard || !isNamed:
	case l.tried == nil:
		l.ok(l.conf.Key, Served, l.bootstrap+" responds as this listener; clients hear its addresses alone")
	case len(nodes) > 0:
		l.ok(l.conf.Key, Served, fmt.Sprintf("%s and %s respond as this listener; clients hear its addresses alone", l.bootstrap, nodesText(nodes)))
	}
}

// options are those of a client of the listener. Without a client's configuration they have
// no login, and accept every certificate: the names in it are compared afterwards.
func (l *listenerCheck) options() *connect.Options {
	o := &connect.Options{Addresses: []string{l.bootstrap}, Parts: l.clusterCheck.conf.Parts, Timeout: tryTime, Say: func(string) {}}
	switch {
	case l.client != nil:
		o.TLS, o.SASL = l.client.TLS, l.client.SASL
	case l.conf.TLS != nil:
		o.TLS = &config.UpstreamTLS{InsecureSkipVerify: true}
	}
	return o
}

// certificate is the one that an endpoint shows.
type certificate struct {
	mu   sync.Mutex // guards leaf
	leaf *x509.Certificate
}

// of keeps the certificate of a connection.
func (c *certificate) of(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		if chain := secure.ConnectionState().PeerCertificates; len(chain) > 0 {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.leaf = chain[0]
		}
	}
}

// isNamed reports whether the certificate that an endpoint shows has its advertised name. The
// handshake with a client's configuration has verified it already.
func (l *listenerCheck) isNamed(c *certificate, address string) bool {
	c.mu.Lock()
	leaf := c.leaf
	c.mu.Unlock()
	host, _, _ := hostport.Parse(address)
	return leaf == nil || l.client != nil || leaf.VerifyHostname(host) == nil
}

// wrongNames is the fault of endpoints whose certificate has another name.
func (l *listenerCheck) wrongNames(addresses []string) {
	l.add(Finding{
		Level: Fault, Key: l.conf.Key + ".tls.certs", Kind: Kind(doctor.WrongName), Address: addresses[0],
		Says: "the certificate shown at " + few(addresses) + " is not for this name",
		Fix:  "if the files are good, the kproxy that runs has not read them, or another server is there",
	})
}

// needsLogin is the note about a listener whose clients log in, where the check cannot.
func (l *listenerCheck) needsLogin(a *attempt) {
	why := "name the configuration of a client that logs in"
	if l.client != nil {
		why = "write a login into " + l.client.File
	}
	l.note(l.conf.Key, NotChecked, l.bootstrap+" responds, and clients log in"+offered(a.cluster.Mechanisms)+": the addresses that they hear, and each node's endpoint, were not tried", why)
}

// heard compares the brokers that the bootstrap endpoint names with the listener's addresses.
func (l *listenerCheck) heard(ctx context.Context, a *attempt) (good bool) {
	if l.id != "" && a.cluster.ID != l.id {
		if !l.isServed(ctx) {
			l.add(l.elsewhere(l.bootstrapKey(), l.bootstrap, fmt.Sprintf("another cluster, %q, responds there, and no process listens at %s", foreign.Line(a.cluster.ID), l.conf.Bind)))
			return false
		}
		l.add(l.elsewhere(l.bootstrapKey(), l.bootstrap, fmt.Sprintf("another cluster, %q, responds there", foreign.Line(a.cluster.ID))))
		return false
	}
	if f, bad := l.judgeHeard(l.bootstrapKey(), l.bootstrap, a.cluster.Brokers); bad {
		l.add(f)
		return false
	}
	var left []int32
	for node := range l.slots {
		if !slices.ContainsFunc(a.cluster.Brokers, func(b connect.Broker) bool { return b.Node == node }) {
			left = append(left, node)
		}
	}
	if len(left) == 0 {
		return true
	}
	slices.Sort(left)
	l.add(Finding{
		Level: Fault, Key: l.conf.Key, Kind: LeftOut, Address: l.bootstrap,
		Says: fmt.Sprintf("%s does not name %s, which the cluster has", l.bootstrap, nodesText(left)),
		Fix:  "if the kproxy that runs has another configuration, start it with this one; its log has nodes that are left out",
	})
	return false
}

// judgeHeard is the fault of the brokers that an endpoint names.
func (l *listenerCheck) judgeHeard(key, address string, heard []connect.Broker) (f Finding, bad bool) {
	if len(heard) == 0 {
		return l.elsewhere(key, address, "it names no brokers"), true
	}
	for _, b := range heard {
		at := hostport.CanonicalAddress(addressOf(b))
		want := l.advertised(b.Node)
		shown := foreign.LineOf(addressOf(b), maxAddress)
		switch isOwn := l.isOwn(at); {
		case at == want, isOwn && (want == "" || l.overflowed[b.Node]):
			continue
		case isOwn:
			return Finding{
				Level: Fault, Key: l.nodesKey(), Kind: OtherAddress, Node: &b.Node, Address: address,
				Says: fmt.Sprintf("%s names %s for node %d, and the configuration gives it %s", address, shown, b.Node, want),
				Fix:  "the kproxy that runs has another configuration, or its state file another slot: start it with this one, or pin the node",
			}, true
		case slices.ContainsFunc(l.named, func(own connect.Broker) bool { return hostport.CanonicalAddress(addressOf(own)) == at }):
			return Finding{
				Level: Fault, Key: key, Kind: BrokerHeard, Node: &b.Node, Address: address,
				Says: fmt.Sprintf("%s names %s, node %d's own address: clients there bypass kproxy", address, shown, b.Node),
				Fix:  "lead the address to kproxy, and not to a broker: correct the DNS, the port mapping or the balancer",
			}, true
		default:
			return l.elsewhere(key, address, fmt.Sprintf("it names %s for node %d, which is no address of this listener", shown, b.Node)), true
		}
	}
	return Finding{}, false
}

func (l *listenerCheck) elsewhere(key, address, why string) Finding {
	return Finding{
		Level: Fault, Key: key, Kind: Elsewhere, Address: address,
		Says: fmt.Sprintf("%s does not lead to this listener: %s", address, why),
		Fix:  "lead it to " + l.conf.Bind + " on this machine: correct the DNS, the port mapping or the balancer; or start the kproxy that runs with this configuration",
	}
}

// walkNodes tries the endpoint of each node. It returns the nodes whose endpoints are good.
// isHeard reports whether the bootstrap endpoint names the listener's addresses: if it does not,
// the nodes' endpoints are not faulted for the same.
func (l *listenerCheck) walkNodes(ctx context.Context, unresolved map[string]bool, isHeard bool) (good []int32) {
	if l.tried == nil {
		return nil
	}
	ends, to := l.endpoints(unresolved)
	attempts := make([]attempt, len(ends.Brokers))
	certificates := make([]certificate, len(ends.Brokers))
	tried := l.each(ctx, len(attempts), func(ctx context.Context, i int) {
		a, b := &attempts[i], ends.Brokers[i]
		a.err = l.options().Probe(map[int32]string{b.Node: to[b.Node]}, certificates[i].of, func(p *connect.Prober) (err error) {
			if a.named, a.known, err = p.Meet(ctx, ends, b); err != nil {
				a.peer = p.Speaks(ctx, to[b.Node], err)
			}
			return err
		})
	})
	var unknown []int32
	var unnamed []string
	for i := range attempts {
		a, b := &attempts[i], ends.Brokers[i]
		at := to[b.Node]
		if !tried[i] {
			continue
		}
		f, bad := l.judgeEndpoint(b.Node, at, a, isHeard)
		switch {
		case bad:
			l.add(f)
		case !l.isNamed(&certificates[i], at):
			unnamed = append(unnamed, at)
		case !a.known && len(ends.Brokers) > 1:
			unknown = append(unknown, b.Node)
		default:
			good = append(good, b.Node)
		}
	}
	if len(unnamed) > 0 {
		l.wrongNames(unnamed)
	}
	if len(unknown) > 0 {
		l.note(l.conf.Key, NotChecked, "which broker responds at the "+verb(unknown, "endpoint", "endpoints")+" of "+nodesText(unknown)+": the user may not describe the brokers' configuration", grant)
	}
	if n := untried(tried); n > 0 {
		l.note(l.conf.Key, NotChecked, "there was no time to try "+counted(n, "endpoint"), "")
	}
	return good
}

// grant is the fix for a user that cannot ask brokers for their identity.
const grant = "grant DescribeConfigs on the cluster to the user of the check"

// judgeEndpoint is the fault of the attempt at a node's endpoint.
func (l *listenerCheck) judgeEndpoint(node int32, at string, a *attempt, isHeard bool) (f Finding, bad bool) {
	if a.err != nil {
		return l.downstreamFault(l.nodesKey(), node, at, a), true
	}
	if isHeard {
		f, bad = l.judgeHeard(l.nodesKey(), at, a.named)
		f.Node = &node
	}
	return f, bad
}

// endpoints are those nodes whose endpoints are tried, as brokers at their advertised addresses,
// and these addresses.
func (l *listenerCheck) endpoints(unresolved map[string]bool) (*connect.Cluster, map[int32]string) {
	ends := &connect.Cluster{ID: l.id}
	to := map[int32]string{}
	for _, b := range l.tried.Brokers {
		slot, ok := l.slots[b.Node]
		if !ok || l.overflowed[b.Node] {
			continue // it may have another slot there
		}
		host, port := l.conf.Advertised(slot)
		if unresolved[host] {
			continue
		}
		ends.Brokers = append(ends.Brokers, connect.Broker{Node: b.Node, Host: host, Port: port})
		to[b.Node] = hostport.Join(host, port)
	}
	return ends, to
}

// isServed reports whether a process listens at the listener's bind address.
func (l *listenerCheck) isServed(ctx context.Context) bool {
	host, port, err := hostport.Parse(l.conf.Bind)
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
