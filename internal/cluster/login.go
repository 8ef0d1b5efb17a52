package cluster

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/hostport"
)

// logIn logs in over a new connection to a broker, where the cluster has a login
// of the proxy's own. secure says that the connection is TLS. It takes
// connect_timeout at most, as the dial before it did.
func (c *Cluster) logIn(ctx context.Context, to *Link, secure bool) error {
	if c.Method == nil {
		return nil
	}
	var peer netip.Addr // of a via, which says nothing of the way behind it
	if c.Via == nil {
		peer = hostport.AddrPort(to.Conn.RemoteAddr()).Addr()
	}
	if err := c.Method.Permits(peer, secure); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.LoginTimeout())
	defer cancel()
	probe := c.probes.begin(to.Address)
	session, err := c.Method.LogIn(ctx, to.Conn, to.Host, probe.id)
	to.Login = session
	return c.probes.end(probe, err)
}

// LoginTimeout returns how long a login may take: connect_timeout.
func (c *Cluster) LoginTimeout() time.Duration { return c.conf.ConnectTimeout }

// IsRefusedLogin reports whether a broker knows what the proxy logs in with, and
// does not take it.
func IsRefusedLogin(err error) bool {
	login, ok := errors.AsType[*auth.LoginError](err)
	return ok && login.Refused
}
