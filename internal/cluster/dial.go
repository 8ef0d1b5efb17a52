package cluster

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
)

// Link is a connection to a broker, ready for requests.
type Link struct {
	Conn    net.Conn
	Target  upstream.Target
	Address string       // where it leads, or would have led
	Host    string       // the broker's own name, host:port
	Login   auth.Session // what the proxy's own login has opened
}

// DialNode reaches one broker. If it has moved, as answers say that could not be
// trusted alone, it is tried there too.
func (c *Cluster) DialNode(ctx context.Context, b endpoints.Broker, who Client) (Link, error) {
	if _, isFixed := c.dialer.Rules.Fixed(b.Node); b.Host == "" && !isFixed {
		to := Link{Target: targetOf(b)}
		if b.Port != 0 {
			return to, fmt.Errorf("dial node %d: the cluster gives it no host (advertised.listeners)", b.Node)
		}
		return to, fmt.Errorf("dial node %d: it has no address: its last one is another broker's now, or it advertises an empty host", b.Node)
	}
	to, err := c.dialTarget(ctx, targetOf(b), who)
	if err == nil || IsRefusedLogin(err) {
		return to, err
	}
	if now, moved := c.failed(b); moved {
		return c.dialTarget(ctx, targetOf(now), who)
	}
	return to, err
}

// DialAny reaches any broker of the cluster: a bootstrap address, a different
// one first each time, or a broker that is known when none of those answers. A
// refused login ends the search: it is refused everywhere, and a server may
// count how often.
func (c *Cluster) DialAny(ctx context.Context, who Client) (Link, error) {
	var errs []error
	var address string
	for _, t := range c.candidates() {
		to, err := c.dialTarget(ctx, t, who)
		if err == nil {
			return to, nil
		}
		if errs = append(errs, err); IsRefusedLogin(err) {
			address = to.Address
			break
		}
	}
	err := fmt.Errorf("no broker can be reached: %w", errors.Join(errs...))
	if !errors.Is(ctx.Err(), context.Canceled) { // the proxy stops
		c.pulse.failed(err)
	}
	return Link{Address: address}, err
}

// candidates lists the brokers to try for bootstrap, in order.
func (c *Cluster) candidates() []upstream.Target {
	known := c.Nodes()
	var targets []upstream.Target
	first := int(c.turn.Add(1))
	for i := range c.conf.Targets {
		t := c.conf.Targets[(first+i)%len(c.conf.Targets)]
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
func (c *Cluster) dialTarget(ctx context.Context, t upstream.Target, who Client) (Link, error) {
	to := Link{Target: t, Host: hostport.Join(t.Host, t.Port)}
	err := c.enter(ctx, &to, t, who)
	c.tally.dial(t.Node, err)
	c.Dialed(t.Node, to.Address, err)
	if err != nil {
		c.log.Debug("dial failed", slog.Int(logkey.Node, int(t.Node)),
			slog.String(logkey.Upstream, to.Address), slog.Any(logkey.Error, err))
	}
	return to, err
}

// enter makes a connection ready for requests, and closes it on any error. The
// login has connect_timeout for itself.
func (c *Cluster) enter(ctx context.Context, to *Link, t upstream.Target, who Client) error {
	if who != (Client{}) { // for a client, and not for a question, which finds out whether a loop is over
		if err := c.probes.loop(c.dialer.Address(t)); err != nil {
			return err
		}
	}
	dialling, cancel := context.WithTimeout(ctx, c.conf.ConnectTimeout)
	defer cancel()
	conn, address, err := c.dialer.Dial(dialling, t)
	to.Address = address
	if err == nil {
		conn, err = c.greet(dialling, conn, t, who)
	}
	if err != nil {
		return err
	}
	to.Conn = conn
	if err := c.logIn(ctx, to, c.TLS != nil); err != nil {
		_ = conn.Close()
		to.Conn = nil
		return err
	}
	return nil
}
