package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/proxy/config"
)

// Link is a connection to a broker, ready for requests.
type Link struct {
	Conn    net.Conn
	Target  upstream.Target
	Address string       // the dialled address, also after an error
	Host    string       // the broker's own name, host:port
	Login   auth.Session // opened by kproxy's own login
	Way     *Way         // by which it was opened; nil without a Conn
}

// Close closes the connection.
func (l *Link) Close() {
	_ = l.Conn.Close()
	l.Way.Release()
}

const (
	// reachFactor is how many times connect_timeout DialNode and DialAny take at most, for all
	// their attempts and kproxy's login together: by default 30 s. Java clients wait as long for
	// a response (request.timeout.ms).
	reachFactor = 3
	// leastPart is the part of connect_timeout that an attempt has at least, however many
	// brokers are left to try.
	leastPart = 5
	// maxKnown is how many known brokers DialAny tries when no bootstrap address responds.
	maxKnown = 16
)

// reaching returns ctx with the limit for all attempts to reach a broker.
func (c *Cluster) reaching(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, reachFactor*c.Way().conf.ConnectTimeout)
}

// DialNode connects to one broker. If that fails, and responses that could not be trusted
// alone have given another address for it, DialNode tries that one too.
func (c *Cluster) DialNode(ctx context.Context, b endpoints.Broker, who Client) (Link, error) {
	if _, isFixed := c.Way().conf.Rules.Fixed(b.Node); b.Host == "" && !isFixed {
		to := Link{Target: targetOf(b)}
		if b.Port != 0 {
			return to, fmt.Errorf("dial node %d: the cluster gives it no host (advertised.listeners)", b.Node)
		}
		return to, fmt.Errorf("dial node %d: it has no address: its last one is another broker's now, or it advertises an empty host", b.Node)
	}
	ctx, cancel := c.reaching(ctx)
	defer cancel()
	to, err := Link{Target: targetOf(b)}, c.visit(ctx, targetOf(b))
	if err != nil {
		c.totals.dial(b.Node, err)
	} else {
		to, err = c.dialTarget(ctx, targetOf(b), who)
	}
	if err == nil || IsRefusedLogin(err) || isCanceled(ctx) { // a canceled dial does not show that the address is wrong
		return to, err
	}
	if now, moved := c.failed(b); moved {
		return c.dialTarget(ctx, targetOf(now), who)
	}
	return to, err
}

// DialAny connects to any broker of the cluster: to a bootstrap address, beginning with the
// next one each time, or else to a known broker, and at last to an address at which a broker of
// another cluster has responded. A refused login ends the search: every
// broker would refuse it, and a server may count refusals.
func (c *Cluster) DialAny(ctx context.Context, who Client) (Link, error) {
	ctx, cancel := c.reaching(ctx)
	defer cancel()
	var errs []error
	var address string
	w := c.use() // for all attempts: a new login is not for an old address
	defer w.Release()
	all := c.candidates(w.conf)
	if c.hasStrangers() {
		all.putLast(c.IsSuspect)
	}
	for i, t := range all.targets {
		to, err := c.dialWithin(ctx, w, t, who, all.share(ctx, i))
		if err == nil {
			return to, nil
		}
		if isCanceled(ctx) {
			break
		}
		if errs = append(errs, err); IsRefusedLogin(err) {
			address = to.Address
			break
		}
		if left := len(all.targets) - i - 1; ctx.Err() != nil && left > 0 {
			errs = append(errs, fmt.Errorf("%d more were not tried: the time was up", left))
			break
		}
	}
	if len(errs) == 0 { // canceled: the proxy stops, or the client has left
		return Link{}, fmt.Errorf("no broker was reached: %w", ctx.Err())
	}
	err := fmt.Errorf("no broker can be reached: %w", errors.Join(errs...))
	c.contact.failed(err)
	return Link{Address: address}, err
}

func isCanceled(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// candidates are the brokers to try for bootstrap, in order: those of the configuration, and
// then some of the known ones.
type candidates struct {
	targets    []upstream.Target
	configured int           // how many of them are the configuration's
	least      time.Duration // for the dial of one
}

// share returns how long the dial of the ith may take: the time until ctx ends, divided by the
// number of those that are left. All known brokers together count as one of the configuration's.
func (c candidates) share(ctx context.Context, i int) time.Duration {
	left := len(c.targets) - i
	if i < c.configured && left > c.configured-i {
		left = c.configured - i + 1
	}
	deadline, _ := ctx.Deadline() // reaching has set one
	return max(time.Until(deadline)/time.Duration(left), c.least)
}

// putLast moves targets to the end.
func (c *candidates) putLast(isLast func(upstream.Target) bool) {
	var first, last []upstream.Target
	configured := 0
	for i, t := range c.targets {
		switch {
		case isLast(t):
			last = append(last, t)
		case i < c.configured:
			configured++
			first = append(first, t)
		default:
			first = append(first, t)
		}
	}
	c.targets, c.configured = slices.Concat(first, last), configured
}

// candidates returns the brokers to try for bootstrap.
func (c *Cluster) candidates(conf *config.ClusterPlan) candidates {
	known := c.Nodes()
	targets := bootstrapOf(conf, known, int(c.turn.Add(1)))
	all := candidates{targets: targets, configured: len(targets), least: conf.ConnectTimeout / leastPart}
	known = slices.DeleteFunc(known, func(b endpoints.Broker) bool {
		return b.Host == "" || slices.ContainsFunc(targets, func(t upstream.Target) bool { return t.Node == b.Node })
	})
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] }) //nolint:gosec // spreads load, keeps no secret
	for _, b := range known[:min(len(known), maxKnown)] {
		all.targets = append(all.targets, targetOf(b))
	}
	return all
}

// bootstrapOf returns the bootstrap addresses, beginning with the one that is first. One that is the address of a known broker
// has its node, so that dial rules by node apply.
func bootstrapOf(conf *config.ClusterPlan, known []endpoints.Broker, first int) []upstream.Target {
	targets := make([]upstream.Target, len(conf.Targets))
	named := map[int32]bool{}
	for i := range targets {
		t := conf.Targets[(first+i)%len(targets)]
		at := slices.IndexFunc(known, func(b endpoints.Broker) bool {
			return !named[b.Node] && hostport.Canonical(b.Host) == hostport.Canonical(t.Host) && b.Port == t.Port
		})
		if at >= 0 {
			t.Node = known[at].Node
			named[t.Node] = true
		}
		targets[i] = t
	}
	return targets
}

// dialTarget opens a connection to a broker, makes it ready for requests, and counts the
// attempt.
func (c *Cluster) dialTarget(ctx context.Context, t upstream.Target, who Client) (Link, error) {
	w := c.use()
	defer w.Release()
	return c.dialWithin(ctx, w, t, who, w.conf.ConnectTimeout)
}

// dialWithin is dialTarget with a limit for the dial, if that is less than connect_timeout. The
// caller uses w.
func (c *Cluster) dialWithin(ctx context.Context, w *Way, t upstream.Target, who Client, limit time.Duration) (Link, error) {
	to := Link{Target: t, Host: hostport.Join(t.Host, t.Port)}
	err := c.enter(ctx, w, &to, t, who, limit)
	c.totals.dial(t.Node, err)
	c.Dialed(t.Node, to.Address, err)
	if err != nil {
		c.log.Debug("dial failed", slog.Int(logkey.Node, int(t.Node)),
			slog.String(logkey.Upstream, to.Address), slog.Any(logkey.Error, err))
	}
	return to, err
}

// enter opens a connection and makes it ready for requests. It closes the connection on any
// error. limit and connect_timeout bound the dial and its handshake, connect_timeout bounds the
// login again.
func (c *Cluster) enter(ctx context.Context, w *Way, to *Link, t upstream.Target, who Client, limit time.Duration) error {
	if who != (Client{}) { // kproxy's own requests go on: they find out whether the loop is over
		if err := c.probes.loop(w.dialer.Address(t)); err != nil {
			return err
		}
	}
	dialling, cancel := context.WithTimeout(ctx, min(limit, w.conf.ConnectTimeout))
	defer cancel()
	conn, address, err := w.dialer.Dial(dialling, t)
	to.Address = address
	if err == nil {
		conn, err = w.handshake(dialling, conn, t, who)
	}
	if err != nil {
		return err
	}
	w.uses.Add(1)
	to.Conn, to.Way = conn, w
	if err := c.logIn(ctx, to, w.tls != nil); err != nil {
		to.Close()
		to.Conn, to.Way = nil, nil
		return err
	}
	return nil
}
