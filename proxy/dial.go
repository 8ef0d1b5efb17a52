package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
)

// link is a connection to a broker, ready for requests.
type link struct {
	conn    net.Conn
	target  upstream.Target
	address string       // where it leads, or would have led
	host    string       // the broker's own name, host:port
	login   auth.Session // what the proxy's own login has opened
}

func dialFailure(err error) *ended {
	if _, isLoop := errors.AsType[*upstream.LoopError](err); isLoop {
		return &ended{reason: Loop, err: err, fix: "add a dial rule that leads to the broker itself"}
	}
	if refused, isRefused := errors.AsType[*upstream.RefusedError](err); isRefused {
		return &ended{reason: DialRefused, err: err, fix: refused.Fix}
	}
	if through, isVia := errors.AsType[*via.Error](err); isVia {
		return &ended{reason: DialFailed, err: err, fix: viaFix(through)}
	}
	if fix := adviceOf(err); fix != "" {
		return &ended{reason: DialFailed, err: err, fix: fix}
	}
	if login, isLogin := errors.AsType[*auth.LoginError](err); isLogin {
		return loginFailure(login)
	}
	return &ended{
		reason: DialFailed,
		err:    err,
		fix:    "if the broker runs, add a dial rule from its advertised name to an address that works from here",
	}
}

// dialNode reaches one broker. If it has moved, as answers say that could not be
// trusted alone, it is tried there too.
func (c *cluster) dialNode(ctx context.Context, b endpoints.Broker, who party) (link, error) {
	if _, isFixed := c.dialer.Rules.Fixed(b.Node); b.Host == "" && !isFixed {
		to := link{target: targetOf(b)}
		if b.Port != 0 {
			return to, fmt.Errorf("dial node %d: the cluster gives it no host (advertised.listeners)", b.Node)
		}
		return to, fmt.Errorf("dial node %d: it has no address: its last one is another broker's now, or it advertises an empty host", b.Node)
	}
	to, err := c.dialTarget(ctx, targetOf(b), who)
	if err == nil || isRefusedLogin(err) {
		return to, err
	}
	if now, moved := c.failed(b); moved {
		return c.dialTarget(ctx, targetOf(now), who)
	}
	return to, err
}

// dialAny reaches any broker of the cluster: a bootstrap address, a different
// one first each time, or a broker that is known when none of those answers. A
// refused login ends the search: it is refused everywhere, and a server may
// count how often.
func (c *cluster) dialAny(ctx context.Context, who party) (link, error) {
	var errs []error
	var address string
	for _, t := range c.candidates() {
		to, err := c.dialTarget(ctx, t, who)
		if err == nil {
			return to, nil
		}
		if errs = append(errs, err); isRefusedLogin(err) {
			address = to.address
			break
		}
	}
	err := fmt.Errorf("no broker can be reached: %w", errors.Join(errs...))
	if !errors.Is(ctx.Err(), context.Canceled) { // the proxy stops
		c.pulse.failed(err)
	}
	return link{address: address}, err
}

// candidates lists the brokers to try for bootstrap, in order.
func (c *cluster) candidates() []upstream.Target {
	known := c.nodes()
	var targets []upstream.Target
	first := int(c.turn.Add(1))
	for i := range c.bootstrap {
		t := c.bootstrap[(first+i)%len(c.bootstrap)]
		// Where it is a known broker's own address, dial rules by node apply.
		at := slices.IndexFunc(known, func(b endpoints.Broker) bool {
			return hostport.Canonical(b.Host) == hostport.Canonical(t.Host) && b.Port == t.Port
		})
		if at >= 0 {
			t.Node = known[at].Node
			known = slices.Delete(known, at, at+1)
		}
		targets = append(targets, t)
	}
	for _, b := range known {
		if b.Host != "" {
			targets = append(targets, targetOf(b))
		}
	}
	return targets
}

// dialTarget makes a connection to a broker that requests can be sent on.
func (c *cluster) dialTarget(ctx context.Context, t upstream.Target, who party) (link, error) {
	to := link{target: t, host: hostport.Join(t.Host, t.Port)}
	err := c.enter(ctx, &to, t, who)
	c.tally.dial(t.Node, err)
	c.proxy.conf.Observer.dialed(c.conf.Name, t.Node, to.address, err)
	if err != nil {
		c.log.Debug("dial failed", slog.Int(logkey.Node, int(t.Node)),
			slog.String(logkey.Upstream, to.address), slog.Any(logkey.Error, err))
	}
	return to, err
}

// enter makes a connection ready for requests, and closes it on any error. The
// login has connect_timeout for itself.
func (c *cluster) enter(ctx context.Context, to *link, t upstream.Target, who party) error {
	if who != (party{}) { // for a client, and not for a question, which finds out whether a loop is over
		if err := c.probes.loop(c.dialer.Address(t)); err != nil {
			return err
		}
	}
	dialling, cancel := context.WithTimeout(ctx, c.conf.ConnectTimeout)
	defer cancel()
	conn, address, err := c.dialer.Dial(dialling, t)
	to.address = address
	if err == nil {
		conn, err = c.greet(dialling, conn, t, who)
	}
	if err != nil {
		return err
	}
	to.conn = conn
	if err := c.logIn(ctx, to, c.tls != nil); err != nil {
		_ = conn.Close()
		to.conn = nil
		return err
	}
	return nil
}
