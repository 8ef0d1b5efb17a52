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

	"kproxy/internal/hostport"
	"kproxy/proxy"
)

// looks is how many connections an address is asked over, after a first one, before what
// it answers counts: a load balancer sends each new connection to any broker. They are
// open at the same time, so that a balancer that takes turns gives them to different
// brokers, whatever other connections come between. With many brokers few are enough, and
// there must not be many for each. Through a program, each connection is a process of the
// user's, such as kubectl's, which may be large.
func (o *Options) looks(brokers int) int {
	const fewest = 2
	if strings.HasPrefix(o.Via.URL, "exec:") {
		return fewest
	}
	return min(max(24/brokers, fewest), 12)
}

// seenAt is which nodes an address has answered as.
type seenAt struct {
	nodes []int32 // in ascending order, each once
	quiet bool    // some connection told of no node
}

// only is the node that has answered every time; proxy.NoNode: there is no such node.
func (s seenAt) only() int32 {
	if s.quiet || len(s.nodes) != 1 {
		return proxy.NoNode
	}
	return s.nodes[0]
}

// mixed reports whether several nodes have answered: the address is a load balancer's.
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

// lookAt runs ask for several connections at the same time, and gathers the nodes that
// they tell.
func (a asker) lookAt(c *Cluster, ask func() int32) seenAt {
	found := make([]int32, a.looks(len(c.Brokers)))
	var asking sync.WaitGroup
	for i := range found {
		asking.Go(func() { found[i] = ask() })
	}
	asking.Wait()
	var s seenAt
	for _, node := range found {
		if node == proxy.NoNode {
			s.quiet = true
		} else {
			s.nodes = append(s.nodes, node)
		}
	}
	slices.Sort(s.nodes)
	s.nodes = slices.Compact(s.nodes)
	return s
}

// whoIsAt is which nodes answer at an address. One connection is enough to find that an
// address tells nothing, or that a cluster of one broker is there.
func (a asker) whoIsAt(ctx context.Context, address string, c *Cluster) seenAt {
	ask := func() int32 {
		if node := a.describedAt(ctx, address, c.Brokers); node != proxy.NoNode {
			return node
		}
		return a.takesID(ctx, address, c)
	}
	first := ask()
	switch {
	case first == proxy.NoNode:
		return seenAt{quiet: true}
	case len(c.Brokers) == 1:
		return seenAt{nodes: []int32{first}}
	}
	s := a.lookAt(c, ask)
	s.nodes = append(s.nodes, first)
	slices.Sort(s.nodes)
	s.nodes = slices.Compact(s.nodes)
	return s
}

// isOnly asks at a broker's own address, which answered as this broker once, whether
// another node answers there too. What tells nothing is no objection.
func (a asker) isOnly(ctx context.Context, c *Cluster, b Broker) error {
	if len(c.Brokers) == 1 {
		return nil
	}
	s := a.lookAt(c, func() int32 {
		i, err := a.proxy.Inquire(ctx, clusterName, b.Node, addressOf(b))
		if err != nil {
			return proxy.NoNode
		}
		defer i.Close()
		return describes(ctx, i, c.Brokers)
	})
	return s.objection(b.Node)
}

// objection is why an address is not that of one node.
func (s seenAt) objection(node int32) error {
	switch {
	case s.mixed():
		return &notItselfError{fmt.Sprintf("%s answer there in turn, as behind a load balancer", s)}
	case len(s.nodes) == 1 && s.nodes[0] != node:
		return &notItselfError{fmt.Sprintf("node %d answers there", s.nodes[0])}
	}
	return nil
}

// refusesID reports whether the broker that a connection for b meets says by ApiVersions
// v5 that it is another one (KIP-1242).
func (a asker) refusesID(ctx context.Context, c *Cluster, b Broker) bool {
	if c.ID == "" || len(c.Brokers) == 1 {
		return false
	}
	s := a.lookAt(c, func() int32 {
		if errors.Is(a.greet(ctx, b.Node, addressOf(b), c.ID, b.Node), kerr.RebootstrapRequired) {
			return b.Node
		}
		return proxy.NoNode
	})
	return len(s.nodes) > 0
}

// withdraw takes back where nodes are that another node answered for: each is dialled
// nowhere then.
func (c *Cluster) withdraw() {
	if len(c.Brokers) == 1 {
		return
	}
	for node, err := range c.errs {
		_, another := errors.AsType[*notItselfError](err)
		if how := c.paired.how[node]; another && how != BySaying && how != ByRule {
			delete(c.paired.at, node)
			delete(c.paired.how, node)
		}
	}
}

// noBroker is an address that no broker advertises.
const noBroker = "no-broker.invalid:1"

// admitted are the addresses of brokers that may be dialled where no rule leads
// elsewhere: all (nil), or, if another node answers at some, the others.
func (c *Cluster) admitted() []string {
	refused := map[string]bool{}
	for _, b := range c.Brokers {
		if _, another := errors.AsType[*notItselfError](c.errs[b.Node]); another && c.paired.how[b.Node] == "" {
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
