package proxy

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
func (c *cluster) logIn(ctx context.Context, to *link, secure bool) error {
	if c.method == nil {
		return nil
	}
	var peer netip.Addr // of a via, which says nothing of the way behind it
	if c.via == nil {
		peer = hostport.AddrPort(to.conn.RemoteAddr()).Addr()
	}
	if err := c.method.Permits(peer, secure); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.loginTimeout())
	defer cancel()
	probe := c.probes.begin(to.address)
	session, err := c.method.LogIn(ctx, to.conn, to.host, probe.id)
	to.login = session
	return c.probes.end(probe, err)
}

func (c *cluster) loginTimeout() time.Duration { return c.conf.ConnectTimeout }

// isRefusedLogin reports whether a broker knows what the proxy logs in with, and
// does not take it.
func isRefusedLogin(err error) bool {
	login, ok := errors.AsType[*auth.LoginError](err)
	return ok && login.Refused
}
