package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
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
// A stranger's responses teach nothing, and its sessions end. For strangerPause no client is led to a node there. Then
// kproxy asks again. Where it cannot, clients may ask there who is where, and nothing else, until one has got the map's
// id, or until strangerLife is over. So they may at a bootstrap address, which they get only if no other can be reached.

const (
	// strangerPause is how long clients are not led to a node's address after a stranger has responded there. The result
	// of a poll is used for as long, or for refusedPause if an address has refused kproxy's login.
	strangerPause = 10 * time.Second
	// strangerLife is how long an address is suspect after the last response of a stranger there.
	strangerLife = 10 * time.Minute
	// maxSayings bounds the addresses whose other cluster is remembered.
	maxSayings = 10_000

	// mixedTold is how many responses in a row clients must have got with the other id from an address that has given two
	// ids in turn. From any other address one is enough.
	mixedTold = 5
	// toldLife is how long a response to a client counts.
	toldLife = 30 * time.Second
	// mixedLife is how long after a change of its id an address counts as one that gives two in turn, if it changes back.
	mixedLife = time.Hour
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

func isStranger(err error) bool {
	_, ok := errors.AsType[StrangerError](err)
	return ok
}

// identity has the other clusters that were found at the addresses of this one. Cluster.mu guards it.
type identity struct {
	// said are by placeOf: the bootstrap addresses that have responded, and addresses at which another cluster has.
	said map[upstream.Target]saying
	poll *poll // the last one; nil: none
}

// saying is the cluster's id that an address has named last.
type saying struct {
	id      string
	at      time.Time // of the last response with it; zero: it does not count any more
	row     int       // responses with it in a row
	before  string    // the id before; "": none
	turned  time.Time // when it was the one before
	mixed   bool      // within mixedLife it has become the one before it again
	visited time.Time // when visit has asked there
	logged  time.Time
}

// placeOf is the key of an address among the sayings.
func placeOf(t upstream.Target) upstream.Target {
	return upstream.Target{Node: t.Node, Host: hostport.Canonical(t.Host), Port: t.Port}
}

// isOther reports whether a cluster's id differs from the map's.
func (c *Cluster) isOther(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.IsOther(id)
}

// strangerAt returns the saying of an address, if another cluster has responded there last, within strangerLife. The
// caller holds mu.
func (c *Cluster) strangerAt(t upstream.Target) (s saying, ok bool) {
	s, ok = c.identity.said[placeOf(t)]
	return s, ok && c.brokers.IsOther(s.id) && time.Since(s.at) < strangerLife
}

// HasStranger reports whether a broker of another cluster has responded at an address less than strangerPause ago.
func (c *Cluster) HasStranger(t upstream.Target) bool { return c.isStrangeWithin(t, strangerPause) }

// IsSuspect reports whether a broker of another cluster has responded at an address last, within strangerLife.
func (c *Cluster) IsSuspect(t upstream.Target) bool { return c.isStrangeWithin(t, strangerLife) }

func (c *Cluster) isStrangeWithin(t upstream.Target, age time.Duration) bool {
	if !c.hasStrangers() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.strangerAt(t)
	return ok && time.Since(s.at) < age
}

// hasStrangers reports whether there are any, without the lock: as a rule there is none.
func (c *Cluster) hasStrangers() bool { return len(c.shown.Load().strangers) > 0 }

// say notes the cluster's id in a response, and reports whether it is another one than the map's.
func (c *Cluster) say(from upstream.Target, id string) (isOther bool) {
	if id == "" {
		return false
	}
	at := placeOf(from)
	c.mu.Lock()
	said := c.identity.said
	s, known := said[at]
	isOther, wasOther := c.brokers.IsOther(id), known && c.brokers.IsOther(s.id)
	now := time.Now()
	isNews := isOther != wasOther || isOther && now.Sub(s.at) >= time.Second
	switch {
	case !known && !isOther && !from.Configured:
		// The map's own id at the address of a node is no news.
	case known && s.id != id:
		s.mixed = id == s.before && now.Sub(s.turned) < mixedLife
		s.id, s.before, s.at, s.row, s.turned = id, s.id, now, 1, now
		said[at] = s
	case known:
		s.at, s.row = now, s.row+1
		said[at] = s
	default:
		if len(said) >= maxSayings {
			maps.DeleteFunc(said, func(_ upstream.Target, s saying) bool { return now.Sub(s.at) >= strangerLife })
		}
		if len(said) < maxSayings {
			said[at] = saying{id: id, at: now, row: 1}
		}
	}
	c.mu.Unlock()
	if isNews {
		c.show()
	}
	return isOther
}

// replace takes away the weight of the sayings with the id of the cluster before. The caller holds mu.
func (i *identity) replace(before string) {
	for at, s := range i.said {
		if s.id == before {
			s.at = time.Time{}
			i.said[at] = s
		}
	}
}

// needs is how many responses in a row must have named the id: few, or mixed if the address has named two in turn.
func (s *saying) needs(few, mixed int) int {
	if s.mixed {
		return mixed
	}
	return few
}

// recognize decides about the cluster's id in a response to a client, while the check of it by kproxy itself may run; ""
// is that of a response without one. The error is a StrangerError.
func (c *Cluster) recognize(ctx context.Context, from upstream.Target, id string, metadata bool) error {
	if id == "" {
		c.mu.Lock()
		s, ok := c.strangerAt(from)
		c.mu.Unlock()
		if ok {
			return StrangerError{from, s.id}
		}
		return nil
	}
	known := c.HasStranger(from)
	if !c.say(from, id) {
		return nil
	}
	isOther := func() bool { return c.isOther(id) }
	if c.Settle(ctx, isOther); !isOther() || metadata && c.WantsLogin() && c.isToldByMost(id) {
		return nil
	}
	return c.meet(from, id, known)
}

// meet logs a stranger, ends the sessions with it unless it is known already, and returns the error.
func (c *Cluster) meet(t upstream.Target, id string, known bool) error {
	at := placeOf(t)
	c.mu.Lock()
	s, ok := c.identity.said[at]
	logs := ok && time.Since(s.logged) >= strangerLife
	if logs {
		s.logged = time.Now()
		c.identity.said[at] = s
	}
	c.mu.Unlock()
	err := StrangerError{t, id}
	if logs {
		c.log.Error("an address leads to another cluster; clients are not led there", slog.Int(logkey.Node, int(t.Node)),
			slog.Any(logkey.Error, err), slog.String(logkey.Fix, strangerFix))
	}
	if ok && !known {
		c.Strayed()
	}
	return err
}

// isToldByMost reports whether clients have lately got a cluster's id from most of the bootstrap addresses, or of the nodes'
// addresses.
func (c *Cluster) isToldByMost(id string) bool {
	nodes := c.Nodes()
	bootstrap := bootstrapOf(c.Way().conf, nodes, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	lately := func(t upstream.Target) (s saying, ok bool) {
		s, ok = c.identity.said[placeOf(t)]
		return s, ok && time.Since(s.at) < toldLife
	}
	tell := func(targets []upstream.Target) (same int) {
		for _, t := range targets {
			if s, ok := lately(t); ok && s.id == id && s.row >= s.needs(1, mixedTold) {
				same++
			}
		}
		return same
	}
	if 2*tell(bootstrap) > len(bootstrap) {
		return true
	}
	isDenied := slices.ContainsFunc(bootstrap, func(t upstream.Target) bool {
		s, ok := lately(t)
		return ok && !c.brokers.IsOther(s.id)
	})
	same := tell(targetsOf(nodes))
	return !isDenied && same > 1 && 2*same > len(nodes)
}

// admit decides about the cluster's id in the response to a request of kproxy's own. The error is a StrangerError, or wraps
// errUndecided.
func (c *Cluster) admit(ctx context.Context, from upstream.Target, id string) error {
	known := c.HasStranger(from)
	if !c.say(from, id) {
		return nil
	}
	p := c.polled()
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUndecided, ctx.Err())
	}
	switch {
	case p.until.IsZero():
		return errUndecided
	case p.most == id:
		return nil
	default:
		return c.meet(from, id, known)
	}
}

// sighted is a stranger in the view.
type sighted struct {
	StrangerError
	at time.Time
}

// strangers returns the strangers at the nodes' addresses and at others, in the order of their texts. The caller holds mu.
func (c *Cluster) strangers() []sighted {
	var all []sighted
	for at, s := range c.identity.said {
		node, known := c.brokers.Node(at.Node)
		if hasMoved := known && placeOf(targetOf(node)) != at; !hasMoved && c.brokers.IsOther(s.id) {
			all = append(all, sighted{StrangerError{at, s.id}, s.at})
		}
	}
	slices.SortFunc(all, func(a, b sighted) int { return cmp.Compare(a.Target.String(), b.Target.String()) })
	return all
}

// recentStrangers returns the strangers that have responded within strangerLife.
func (v *view) recentStrangers() []StrangerError {
	var all []StrangerError
	for _, s := range v.strangers {
		if time.Since(s.at) < strangerLife {
			all = append(all, s.StrangerError)
		}
	}
	return all
}

// visit returns the error of a stranger at a node's address. After strangerPause it asks there, if kproxy can. Where it returns
// nil although the address is suspect, the client may only ask who is where.
func (c *Cluster) visit(ctx context.Context, t upstream.Target) error {
	if !c.hasStrangers() {
		return nil
	}
	at := placeOf(t)
	canAsk := !c.WantsLogin()
	c.mu.Lock()
	s, ok := c.strangerAt(t)
	isDue := ok && time.Since(s.at) >= strangerPause
	asks := isDue && canAsk && time.Since(s.visited) >= strangerPause
	if asks { // one caller asks
		s.visited = time.Now()
		c.identity.said[at] = s
	}
	c.mu.Unlock()
	if asks {
		c.lookAgain(ctx, t)
	}
	if ok && (!isDue || canAsk && !asks || c.HasStranger(t)) {
		return StrangerError{t, s.id}
	}
	return nil
}

// lookAgain asks at the address of a stranger. It does not wait for a poll.
func (c *Cluster) lookAgain(ctx context.Context, t upstream.Target) {
	n, err := c.metadataOf(ctx, t)
	switch {
	case IsRefusedLogin(err):
		c.mu.Lock()
		if s, ok := c.identity.said[placeOf(t)]; ok {
			s.visited = time.Now().Add(refusedPause - strangerPause)
			c.identity.said[placeOf(t)] = s
		}
		c.mu.Unlock()
	case err != nil, n.way != c.Way():
	case c.say(t, n.brokers.ClusterID):
		c.polled() // the cluster may have been replaced
	default:
		_ = c.learnNamed(n) // the map may not follow
	}
}
