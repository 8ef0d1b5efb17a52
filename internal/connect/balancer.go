package connect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"kproxy/internal/doctor"
	"kproxy/internal/hostport"
	"kproxy/proxy"
)

// looks is the number of connections, after a first one, over which an address is asked
// before its responses count: a load balancer sends each new connection to any broker.
// They are open at the same time, so that a balancer that takes turns gives them to
// different brokers, whatever other connections come between. With many brokers few are
// enough, and there must not be many for each. Through a program, each connection is a
// process of the user's, such as kubectl's, which may be large.
func (o *Options) looks(brokers int) int {
	const fewest = 2
	if strings.HasPrefix(o.Via.URL, "exec:") {
		return fewest
	}
	return min(max(24/max(brokers, 1), fewest), 12)
}

// seenAt has the nodes that have responded at an address.
type seenAt struct {
	nodes   []int32                 // in ascending order, each once
	layouts map[int32]doctor.Layout // their listeners, as far as they are known
	quiet   bool                    // on some connection the node was not known
}

// add notes the result of one connection.
func (s *seenAt) add(node int32, layout doctor.Layout) {
	if node == proxy.NoNode {
		s.quiet = true
		return
	}
	if s.layouts == nil {
		s.layouts = map[int32]doctor.Layout{}
	}
	s.layouts[node] = layout
	s.nodes = append(s.nodes, node)
	slices.Sort(s.nodes)
	s.nodes = slices.Compact(s.nodes)
}

// only is the node that has responded every time; proxy.NoNode: there is no such node.
func (s seenAt) only() int32 {
	if s.quiet || len(s.nodes) != 1 {
		return proxy.NoNode
	}
	return s.nodes[0]
}

// mixed reports whether several nodes have responded: the address is a load balancer's.
func (s seenAt) mixed() bool { return len(s.nodes) > 1 }

// String names the nodes, the first few of them: "nodes 0, 2 and 5 more".
func (s seenAt) String() string {
	const few = 5
	var names []string
	for _, node := range s.nodes[:min(len(s.nodes), few)] {
		names = append(names, strconv.Itoa(int(node)))
	}
	text := "nodes " + strings.Join(names, ", ")
	if more := len(s.nodes) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// lookAt runs ask for several connections at the same time, and collects the nodes.
func (a asker) lookAt(c *Cluster, ask func() (int32, doctor.Layout)) seenAt {
	var mu sync.Mutex // guards s
	var s seenAt
	var asking sync.WaitGroup
	for range a.looks(len(c.Brokers)) {
		asking.Go(func() {
			node, layout := ask()
			mu.Lock()
			defer mu.Unlock()
			s.add(node, layout)
		})
	}
	asking.Wait()
	return s
}

// whoIsAt returns the nodes that respond at an address. One connection is enough to find
// that an address does not identify its node, or that a cluster of one broker is there.
func (a asker) whoIsAt(ctx context.Context, address string, c *Cluster) seenAt {
	ask := func() (int32, doctor.Layout) {
		if node, layout := a.describedAt(ctx, proxy.NoNode, address, c.Brokers); node != proxy.NoNode {
			return node, layout
		}
		return a.takesID(ctx, address, c), doctor.Layout{}
	}
	var s seenAt
	node, layout := ask()
	if node != proxy.NoNode && len(c.Brokers) > 1 {
		s = a.lookAt(c, ask)
	}
	s.add(node, layout)
	return s
}

// isOnly asks at a broker's own address, at which first has responded, whether other nodes
// respond there too. A connection without a known node is no objection.
func (a asker) isOnly(ctx context.Context, c *Cluster, b Broker, first int32) error {
	var s seenAt
	if len(c.Brokers) > 1 && first == b.Node {
		s = a.lookAt(c, func() (int32, doctor.Layout) { return a.describedAt(ctx, b.Node, addressOf(b), c.Brokers) })
	}
	s.add(first, doctor.Layout{})
	return s.objection(b.Node)
}

// objection is why an address is not that of one node.
func (s seenAt) objection(node int32) error {
	switch {
	case s.mixed():
		return &doctor.SelfError{Verdict: doctor.Balancer, Says: fmt.Sprintf("different nodes respond there, connection by connection: %s", s)}
	case len(s.nodes) == 1 && s.nodes[0] != node:
		return &doctor.SelfError{Verdict: doctor.AnotherNode, Node: s.nodes[0], Says: fmt.Sprintf("node %d responds there", s.nodes[0])}
	}
	return nil
}

// refusesID reports whether the broker that a connection for b meets says by ApiVersions
// v5 that it is another one (KIP-1242).
func (a asker) refusesID(ctx context.Context, c *Cluster, b Broker) bool {
	if c.ID == "" || len(c.Brokers) == 1 {
		return false
	}
	s := a.lookAt(c, func() (int32, doctor.Layout) {
		if errors.Is(a.greet(ctx, b.Node, addressOf(b), c.ID, b.Node), kerr.RebootstrapRequired) {
			return b.Node, doctor.Layout{}
		}
		return proxy.NoNode, doctor.Layout{}
	})
	return len(s.nodes) > 0
}

// withdraw removes the addresses of nodes at which another node responded: these nodes
// are dialled nowhere then.
func (c *Cluster) withdraw() {
	if len(c.Brokers) == 1 {
		return
	}
	for node, err := range c.errs {
		_, another := errors.AsType[*doctor.SelfError](err)
		if how := c.paired.how[node]; another && how != BySaying && how != ByRule {
			delete(c.paired.at, node)
			delete(c.paired.how, node)
		}
	}
}

// noBroker is an address that no broker advertises.
const noBroker = "no-broker.invalid:1"

// admitted are the addresses of brokers that may be dialled where no rule leads
// elsewhere: all (nil), or, if another node responds at some, the others.
func (c *Cluster) admitted() []string {
	refused := map[string]bool{}
	for _, b := range c.Brokers {
		if _, another := errors.AsType[*doctor.SelfError](c.errs[b.Node]); another && c.paired.how[b.Node] == "" {
			refused[hostport.CanonicalAddress(addressOf(b))] = true
		}
	}
	if len(refused) == 0 || len(c.Brokers) == 1 {
		return nil
	}
	admitted := []string{noBroker}
	for _, b := range c.Brokers {
		_, _, err := hostport.Parse(addressOf(b))
		if err == nil && !refused[hostport.CanonicalAddress(addressOf(b))] {
			admitted = append(admitted, addressOf(b))
		}
	}
	return admitted
}
