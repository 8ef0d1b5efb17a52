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
	Address string       // the dialled address, also after an error
	Host    string       // the broker's own name, host:port
	Login   auth.Session // opened by kproxy's own login
	Way     *Way         // by which it was opened; nil without a Conn
}

// Close closes the connection.
func (l *Link) Close() {
	_ = l.Conn.Close()
	l.Release()
}

// Release is Close where the caller has closed Conn itself.
func (l *Link) Release() { l.Way.release() }

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
	to, err := c.dialTarget(ctx, targetOf(b), who)
	if err == nil || IsRefusedLogin(err) {
		return to, err
	}
	if now, moved := c.failed(b); moved {
		return c.dialTarget(ctx, targetOf(now), who)
	}
	return to, err
}

// DialAny connects to any broker of the cluster: to a bootstrap address, beginning with the
// next one each time, or else to a known broker. A refused login ends the search: every
// broker would refuse it, and a server may count refusals.
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
		c.contact.failed(err)
	}
	return Link{Address: address}, err
}

// candidates lists the brokers to try for bootstrap, in order.
func (c *Cluster) candidates() []upstream.Target {
	known := c.Nodes()
	var targets []upstream.Target
	first := int(c.turn.Add(1))
	configured := c.Way().conf.Targets
	for i := range configured {
		t := configured[(first+i)%len(configured)]
		// If it is the address of a known broker, dial rules by node apply.
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

// dialTarget opens a connection to a broker, makes it ready for requests, and counts the
// attempt.
func (c *Cluster) dialTarget(ctx context.Context, t upstream.Target, who Client) (Link, error) {
	to := Link{Target: t, Host: hostport.Join(t.Host, t.Port)}
	err := c.enter(ctx, &to, t, who)
	c.totals.dial(t.Node, err)
	c.Dialed(t.Node, to.Address, err)
	if err != nil {
		c.log.Debug("dial failed", slog.Int(logkey.Node, int(t.Node)),
			slog.String(logkey.Upstream, to.Address), slog.Any(logkey.Error, err))
	}
	return to, err
}

// enter opens a connection and makes it ready for requests. It closes the connection on any
// error. connect_timeout bounds the dial and its handshake, and then the login again.
func (c *Cluster) enter(ctx context.Context, to *Link, t upstream.Target, who Client) error {
	w := c.use()
	if who != (Client{}) { // kproxy's own requests go on: they find out whether the loop is over
		if err := c.probes.loop(w.dialer.Address(t)); err != nil {
			w.release()
			return err
		}
	}
	dialling, cancel := context.WithTimeout(ctx, w.conf.ConnectTimeout)
	defer cancel()
	conn, address, err := w.dialer.Dial(dialling, t)
	to.Address = address
	if err == nil {
		conn, err = w.handshake(dialling, conn, t, who)
	}
	if err != nil {
		w.release()
		return err
	}
	to.Conn, to.Way = conn, w
	if err := c.logIn(ctx, to, w.tls != nil); err != nil {
		to.Close()
		to.Conn, to.Way = nil, nil
		return err
	}
	return nil
}
