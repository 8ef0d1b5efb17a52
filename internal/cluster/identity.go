package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"kproxy/internal/endpoints"
	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
)

// The bootstrap addresses say which cluster this is. A broker's address can come to lead to a broker of another cluster: its
// IP address was given to another machine, or a DNS record or a dial rule is wrong. Such a broker's response must not
// lead the clients of all nodes to the other cluster:
//
//	a response has another cluster's id than the map
//	  ├─ kproxy can ask ──▶ most bootstrap addresses have that id ──▶ the map follows: the cluster was replaced
//	  │                 └─▶ else ──▶ a stranger is at the address
//	  └─ only clients can log in ──▶ clients have got that id from most of the bootstrap addresses, or of the nodes'
//	                                 addresses ──▶ the map follows; else a stranger is at the address
//
// A stranger's responses teach nothing, and its sessions end. For strangerPause no client is led to a node there, and to a
// bootstrap address there only if no other can be reached. Then kproxy asks again, or one client finds out.

const (
	// strangerPause is how long clients are not led to an address after a stranger has responded there.
	strangerPause = 10 * time.Second
	// strangerShown is how long a stranger is part of the Status after its last response.
	strangerShown = 10 * time.Minute
	// maxSayings bounds the addresses whose cluster is remembered.
	maxSayings = 1000

	// pollRounds is how often each bootstrap address is asked before the map follows another cluster. A name may
	// have several IP addresses, and one of them may lead elsewhere.
	pollRounds = 3
	// pollPause is between two rounds.
	pollPause = 100 * time.Millisecond
	// pollTimeout is for a round.
	pollTimeout = 2 * time.Second
	// maxPolled is how many bootstrap addresses are asked.
	maxPolled = 16
)

// StrangerError means that a broker of another cluster responds at an address of this one.
type StrangerError struct {
	Target upstream.Target
	ID     string // of the other cluster
}

// Error names the address and the other cluster's id.
func (e StrangerError) Error() string {
	return fmt.Sprintf("a broker of another cluster, %q, responds at the address of %v", foreign.Line(e.ID), e.Target)
}

// strangerFix is what to do about a StrangerError.
const strangerFix = "see where the address leads: DNS, a dial rule, or an IP address that another machine has now; " +
	"if the cluster was made anew, most of the bootstrap addresses must lead to it"

// sayings has the id of the cluster that the last response from an address has named.
type sayings map[upstream.Target]saying

type saying struct {
	id      string
	at      time.Time // of the response
	visited time.Time // when visit has tried the address
	noted   bool      // it is in the log
}

// placeOf is the key of an address among the sayings.
func placeOf(t upstream.Target) upstream.Target {
	return upstream.Target{Node: t.Node, Host: strings.ToLower(t.Host), Port: t.Port}
}

// isOther reports whether a cluster's id differs from the map's.
func (c *Cluster) isOther(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.IsOther(id)
}

// say notes the cluster's id in a response, and reports whether it is another one than the map's.
func (c *Cluster) say(from upstream.Target, id string) (isOther bool) {
	if id == "" {
		return false
	}
	at := placeOf(from)
	c.mu.Lock()
	isOther = c.brokers.IsOther(id)
	before, known := c.said[at]
	if !known && len(c.said) >= maxSayings {
		clear(c.said)
	}
	c.said[at] = saying{id, time.Now(), before.visited, before.noted && before.id == id}
	wasOther := c.brokers.IsOther(before.id)
	c.mu.Unlock()
	if isOther || wasOther {
		c.show()
	}
	return isOther
}

// admit decides about the cluster's id in the response to a request of kproxy's own. The error is a StrangerError, or says
// that nothing could be decided.
func (c *Cluster) admit(ctx context.Context, from Link, id string) error {
	if !c.say(from.Target, id) {
		return nil
	}
	same, all := c.poll(ctx, from.Way, id)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("another cluster, %q, responds, and the bootstrap addresses were not asked: %w", foreign.Line(id), ctx.Err())
	case 2*same > all:
		return nil
	default:
		return c.meet(from.Target, id)
	}
}

// poll asks the bootstrap addresses for the cluster's id. same is how many of them all name this one in each response, and
// respond.
func (c *Cluster) poll(ctx context.Context, w *Way, id string) (same, all int) {
	candidates := c.candidates(w.conf)
	targets := candidates.targets[:min(candidates.configured, maxPolled)]
	says := make([]bool, len(targets))
	differs := make([]bool, len(targets))
	for round := range pollRounds {
		if round > 0 {
			wait.Sleep(ctx, pollPause)
		}
		for i, got := range c.idsAt(ctx, targets) {
			says[i] = says[i] || got == id
			differs[i] = differs[i] || got != id && got != ""
		}
	}
	for i := range targets {
		if says[i] && !differs[i] {
			same++
		}
	}
	return same, len(targets)
}

// idsAt returns the ids that brokers at these addresses give for their cluster; "": none.
func (c *Cluster) idsAt(ctx context.Context, targets []upstream.Target) []string {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	ids := make([]string, len(targets))
	var asking sync.WaitGroup
	for i, t := range targets {
		asking.Go(func() {
			to, err := c.dialTarget(ctx, t, Client{})
			if err != nil {
				return
			}
			defer to.Close()
			defer wait.Bound(ctx, to.Conn)()
			if response, err := c.metadata(to); err == nil && response.ClusterID != nil {
				ids[i] = *response.ClusterID
				c.say(t, ids[i])
			}
		})
	}
	asking.Wait()
	return ids
}

// isToldByMost reports whether clients have got a cluster's id from most of the bootstrap addresses, or of the nodes'
// addresses.
func (c *Cluster) isToldByMost(id string) bool {
	bootstrap := c.candidates(c.Way().conf)
	nodes := c.Nodes()
	c.mu.Lock()
	defer c.mu.Unlock()
	count := func(of int, target func(i int) upstream.Target) (same int) {
		for i := range of {
			if c.said[placeOf(target(i))].id == id {
				same++
			}
		}
		return same
	}
	return 2*count(bootstrap.configured, func(i int) upstream.Target { return bootstrap.targets[i] }) > bootstrap.configured ||
		2*count(len(nodes), func(i int) upstream.Target { return targetOf(nodes[i]) }) > len(nodes)
}

// recognize decides about the cluster's id in a response to a client, while the check of it by kproxy itself may run. The
// error is a StrangerError.
func (c *Cluster) recognize(ctx context.Context, from upstream.Target, id string, metadata bool) error {
	if !c.say(from, id) {
		return nil
	}
	isOther := func() bool { return c.isOther(id) }
	if c.Settle(ctx, isOther); !isOther() || metadata && c.WantsLogin() && c.isToldByMost(id) {
		return nil
	}
	return c.meet(from, id)
}

// meet logs a stranger, ends the sessions with it, and returns the error.
func (c *Cluster) meet(t upstream.Target, id string) error {
	at := placeOf(t)
	c.mu.Lock()
	s := c.said[at]
	noted := s.noted
	s.noted = true
	c.said[at] = s
	c.mu.Unlock()
	err := StrangerError{t, id}
	if !noted {
		c.log.Error("an address leads to another cluster; clients are not led there", slog.Int(logkey.Node, int(t.Node)),
			slog.Any(logkey.Error, err), slog.String(logkey.Fix, strangerFix))
	}
	c.Strayed()
	return err
}

// HasStranger reports whether a broker of another cluster has responded at an address, less than strangerPause ago.
func (c *Cluster) HasStranger(t upstream.Target) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.said[placeOf(t)]
	return c.brokers.IsOther(s.id) && time.Since(s.at) < strangerPause
}

// sighted is a stranger in the view.
type sighted struct {
	StrangerError
	at time.Time
}

// strangers returns the strangers at the nodes' addresses and at others, in the order of their texts. The caller holds mu.
func (c *Cluster) strangers() []sighted {
	var all []sighted
	for at, s := range c.said {
		node, known := c.brokers.Node(at.Node)
		hasMoved := known && !node.IsAt(endpoints.Broker{Host: at.Host, Port: at.Port})
		if c.brokers.IsOther(s.id) && !hasMoved {
			all = append(all, sighted{StrangerError{at, s.id}, s.at})
		}
	}
	slices.SortFunc(all, func(a, b sighted) int { return cmp.Compare(a.Target.String(), b.Target.String()) })
	return all
}

// recentStrangers returns the strangers that have responded within strangerShown.
func (v *view) recentStrangers() []StrangerError {
	var all []StrangerError
	for _, s := range v.strangers {
		if time.Since(s.at) < strangerShown {
			all = append(all, s.StrangerError)
		}
	}
	return all
}

// visit returns the error of a stranger at a node's address. After strangerPause it asks there, and returns nil if the stranger
// has left, or if only the client can find that out.
func (c *Cluster) visit(ctx context.Context, t upstream.Target) error {
	at := placeOf(t)
	c.mu.Lock()
	s, known := c.said[at]
	if !known || !c.brokers.IsOther(s.id) {
		c.mu.Unlock()
		return nil
	}
	isDue := time.Since(s.at) >= strangerPause && time.Since(s.visited) >= strangerPause
	if isDue {
		s.visited = time.Now() // one caller asks
		c.said[at] = s
	}
	c.mu.Unlock()
	if isDue {
		_ = c.askBroker(ctx, t) // its response is noted
	}
	if !isDue || c.HasStranger(t) {
		return StrangerError{t, s.id}
	}
	return nil
}

func isStranger(err error) bool {
	_, ok := errors.AsType[StrangerError](err)
	return ok
}
