package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/speaks"
	"kproxy/proxy"
)

// locate finds the addresses of c's brokers. In a cluster of several, a broker whose own
// address works is dialled there: an address of the user's may be a load balancer's,
// behind which any of them responds. The first maxTried brokers are tried. The others are
// dialled by the user's rules or at their own addresses, because nothing is known that is
// against it.
func (o *Options) locate(ctx context.Context, c *Cluster) error {
	few := *c
	few.Brokers = c.Brokers[:min(len(c.Brokers), maxTried)]
	if err := o.locateEach(ctx, &few); err != nil {
		return err
	}
	c.paired, c.errs = few.paired, few.errs
	for _, b := range c.Brokers[len(few.Brokers):] {
		c.paired.how[b.Node] = cmp.Or(o.ruled(b), Untried)
	}
	return nil
}

// locateEach is locate for brokers of which each is tried.
func (o *Options) locateEach(ctx context.Context, c *Cluster) error {
	settled := map[int32]How{}
	for _, b := range c.Brokers {
		if how := o.ruled(b); how != "" {
			settled[b.Node] = how
		}
	}
	var own map[int32]error
	var witnesses []witness
	err := o.ask(nil, func(a asker) error {
		var asking sync.WaitGroup
		if len(c.Brokers) > 1 {
			asking.Go(func() { own = a.tryEach(ctx, c, c.unsettled(settled)) })
		}
		asking.Go(func() { witnesses, _ = a.witnesses(ctx, c, o.Addresses) })
		asking.Wait()
		return nil
	})
	if err != nil {
		return err
	}
	return o.settle(ctx, c, settled, own, witnesses)
}

// settle decides at which addresses unsettled brokers are dialled: by the results at their
// own addresses, which are not dialled again, and by the nodes at the user's.
func (o *Options) settle(ctx context.Context, c *Cluster, settled map[int32]How, own map[int32]error, witnesses []witness) error {
	c.errs = map[int32]error{}
	for _, b := range c.unsettled(settled) {
		if err, tried := own[b.Node]; err != nil {
			c.errs[b.Node] = err
		} else if tried {
			settled[b.Node] = ByItself
		}
	}
	err := o.ask(nil, func(a asker) error {
		c.paired = pair(c.Brokers, settled, witnesses, a.resolveBrokers(ctx, c.Brokers))
		return nil
	})
	if err != nil {
		return err
	}
	return o.ask(c.paired.at, func(a asker) error {
		var untried []Broker
		for _, b := range c.Brokers {
			switch how := c.paired.how[b.Node]; {
			case how == ByItself, how == "" && c.errs[b.Node] != nil:
			default: // the address of a rule, or the own address of the only broker that is elsewhere
				untried = append(untried, b)
				delete(c.errs, b.Node)
			}
		}
		for node, err := range a.tryEach(ctx, c, untried) {
			if err != nil {
				c.errs[node] = err
			} else if c.paired.how[node] == "" {
				c.paired.how[node] = ByItself
			}
		}
		c.withdraw()
		return nil
	})
}

// unsettled are the brokers without a decision.
func (c *Cluster) unsettled(settled map[int32]How) []Broker {
	return slices.DeleteFunc(slices.Clone(c.Brokers), func(b Broker) bool { return settled[b.Node] != "" })
}

// witnesses asks for the node at each of some of the user's addresses, and for its
// listeners, by node.
func (a asker) witnesses(ctx context.Context, c *Cluster, addresses []string) ([]witness, map[int32]doctor.Layout) {
	all := make([]witness, len(addresses))
	seen := make([]seenAt, len(addresses))
	layouts := map[int32]doctor.Layout{}
	var asking sync.WaitGroup
	for i, address := range addresses {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, a.Timeout)
			defer cancel()
			seen[i] = a.whoIsAt(ctx, address, c)
			all[i] = witness{address: address, node: seen[i].only(), resolved: a.resolve(ctx, address), mixed: seen[i].mixed()}
		})
	}
	asking.Wait()
	for i, s := range seen {
		maps.Copy(layouts, s.layouts)
		if s.mixed() {
			a.Say(fmt.Sprintf("%s respond at %s in turn, as behind a load balancer; it is used for bootstrap only", s, addresses[i]))
		}
	}
	// The only broker is at the address of the response.
	if at := slices.IndexFunc(all, func(w witness) bool { return w.address == c.answered }); at > 0 {
		all[0], all[at] = all[at], all[0]
	}
	return all, layouts
}

func (a asker) describedAt(ctx context.Context, node int32, address string, brokers []Broker) (int32, doctor.Layout) {
	i, err := a.proxy.Inquire(ctx, a.cluster, node, address)
	if err != nil {
		return proxy.NoNode, doctor.Layout{}
	}
	defer i.Close()
	return describes(ctx, i, brokers)
}

// describes asks a broker to describe each broker's configuration: a broker responds for
// itself alone. A service that responds for all does not identify itself.
func describes(ctx context.Context, i *proxy.Inquiry, brokers []Broker) (int32, doctor.Layout) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 1 // Kafka 1.1; no response of it has a flexible header before v4
	for _, b := range brokers {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(b.Node))
		resource.ConfigNames = append([]string{"broker.id"}, doctor.LayoutKeys...)
		req.Resources = append(req.Resources, resource)
	}
	resp := kmsg.NewPtrDescribeConfigsResponse()
	if err := i.Ask(ctx, req, resp); err != nil {
		return proxy.NoNode, doctor.Layout{}
	}
	node := onlyOne(resp, brokers)
	if node == proxy.NoNode {
		return node, doctor.Layout{}
	}
	return node, layoutOf(resp)
}

// layoutOf reads a broker's listeners from the one resource that has no error.
func layoutOf(resp *kmsg.DescribeConfigsResponse) doctor.Layout {
	values := map[string]string{}
	for _, r := range resp.Resources {
		if r.ErrorCode != 0 {
			continue
		}
		for _, c := range r.Configs {
			if c.Value != nil && slices.Contains(doctor.LayoutKeys, c.Name) {
				values[c.Name] = *c.Value
			}
		}
	}
	return doctor.ParseLayout(values)
}

// onlyOne is the node for which a response has no error, if there is one such node and the
// others are refused as invalid.
func onlyOne(resp *kmsg.DescribeConfigsResponse, brokers []Broker) int32 {
	found, refused := int32(proxy.NoNode), 0
	for _, r := range resp.Resources {
		id, err := strconv.ParseInt(r.ResourceName, 10, 32)
		switch {
		case err != nil:
			return proxy.NoNode
		case r.ErrorCode == kerr.InvalidRequest.Code:
			refused++
		case r.ErrorCode == 0 && found == proxy.NoNode:
			found = int32(id)
		default:
			return proxy.NoNode
		}
	}
	if refused != len(brokers)-1 {
		return proxy.NoNode
	}
	return found
}

// takesID asks by ApiVersions v5, which a broker with another id refuses (KIP-1242). Each
// request has a connection of its own: before a login, a second ApiVersions looks like an
// attack.
func (a asker) takesID(ctx context.Context, address string, c *Cluster) int32 {
	if c.ID == "" {
		return proxy.NoNode
	}
	found := int32(proxy.NoNode)
	for _, b := range c.Brokers {
		err := a.greet(ctx, proxy.NoNode, address, c.ID, b.Node)
		switch {
		case errors.Is(err, kerr.RebootstrapRequired):
		case err == nil && found == proxy.NoNode:
			found = b.Node
		default: // it does not support v5, or accepts every id
			return proxy.NoNode
		}
	}
	if len(c.Brokers) == 1 { // no request was refused, which proves nothing
		return proxy.NoNode
	}
	return found
}

// greet connects to the address of dialled, and asks there by ApiVersions v5 for a node.
func (a asker) greet(ctx context.Context, dialled int32, address, clusterID string, node int32) error {
	i, err := a.proxy.Inquire(ctx, a.cluster, dialled, address)
	if err != nil {
		return err
	}
	defer i.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 5, "kproxy", "connect"
	req.ClusterID, req.NodeID = &clusterID, node
	return i.Ask(ctx, req, req.ResponseKind())
}

// resolve returns the host:ports that an address resolves to; none where names resolve
// elsewhere.
func (a asker) resolve(ctx context.Context, address string) []string {
	host, port, err := hostport.Parse(address)
	if err != nil || a.Via.URL != "" {
		return nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	var all []string
	for _, ip := range ips {
		all = append(all, hostport.Join(ip.Unmap().String(), port))
	}
	return all
}

func (a asker) resolveBrokers(ctx context.Context, brokers []Broker) map[int32][]string {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	all := map[int32][]string{}
	for _, b := range brokers {
		asking.Go(func() {
			addresses := a.resolve(ctx, addressOf(b))
			mu.Lock()
			defer mu.Unlock()
			all[b.Node] = addresses
		})
	}
	asking.Wait()
	return all
}

// tryEach connects to brokers as sessions will, and returns the results, by node.
func (a asker) tryEach(ctx context.Context, c *Cluster, brokers []Broker) map[int32]error {
	errs := make([]error, len(brokers))
	var trying sync.WaitGroup
	for n, b := range brokers {
		trying.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, a.Timeout)
			defer cancel()
			if _, errs[n] = a.try(ctx, c, b); errors.Is(errs[n], proxy.ErrNeedsLogin) {
				errs[n] = nil // clients log in by themselves
			}
		})
	}
	trying.Wait()
	all := map[int32]error{}
	for n, b := range brokers {
		all[b.Node] = errs[n]
	}
	return all
}

// try connects to a broker at its dial address, and checks its identity. known reports whether
// the broker has shown one. A name may resolve to another server here, and a load balancer may
// choose another one each time.
func (a asker) try(ctx context.Context, c *Cluster, b Broker) (known bool, err error) {
	_, known, err = a.meet(ctx, c, b)
	return known, err
}

// meet is try, and returns also the brokers that the broker names.
func (a asker) meet(ctx context.Context, c *Cluster, b Broker) (named []Broker, known bool, err error) {
	i, err := a.proxy.Inquire(ctx, a.cluster, b.Node, addressOf(b))
	if err != nil {
		return nil, false, err
	}
	defer i.Close()
	a.note(i)
	versions, offers := kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrApiVersionsResponse()
	if err := a.askFirst(ctx, i, versions, offers); err != nil {
		return nil, false, err
	}
	if speaks.IsController(offers) {
		return nil, false, &doctor.NotBrokerError{}
	}
	metadata, err := brokersBy(ctx, i)
	if err != nil {
		return nil, false, err
	}
	named = brokersOf(metadata)
	if id := metadata.ClusterID; id != nil && c.ID != "" && *id != c.ID {
		return named, false, anotherCluster(*id)
	}
	node, _ := describes(ctx, i, c.Brokers)
	if node == proxy.NoNode {
		if a.refusesID(ctx, c, b) {
			return named, false, &doctor.SelfError{Verdict: doctor.AnotherNode, Node: proxy.NoNode, Says: "another node responds there"}
		}
		return named, false, nil
	}
	return named, true, a.isOnly(ctx, c, b, node)
}

func anotherCluster(id string) error {
	return &doctor.SelfError{Verdict: doctor.Stranger, Says: fmt.Sprintf("another cluster responds there: %q", foreign.Line(id))}
}
