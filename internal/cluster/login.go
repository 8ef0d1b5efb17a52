package cluster

import (
	"context"
	"errors"
	"net/netip"

	"kproxy/internal/auth"
	"kproxy/internal/hostport"
)

// logIn logs in over a new connection to a broker, if the cluster's configuration has sasl.
// secure reports whether the connection is TLS. connect_timeout bounds the login, as it
// bounded the dial before.
func (c *Cluster) logIn(ctx context.Context, to *Link, secure bool) error {
	method := to.Way.Method()
	if method == nil {
		return nil
	}
	var peer netip.Addr // zero with a via: the address of the via is not the broker's
	if to.Way.via == nil {
		peer = hostport.AddrPort(to.Conn.RemoteAddr()).Addr()
	}
	if err := method.Permits(peer, secure); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, to.Way.LoginTimeout())
	defer cancel()
	probe := c.probes.begin(to.Address)
	session, err := method.LogIn(ctx, to.Conn, to.Host, probe.id)
	to.Login = session
	return c.probes.end(probe, err)
}

// IsRefusedLogin reports whether a broker has refused kproxy's credentials.
func IsRefusedLogin(err error) bool {
	login, ok := errors.AsType[*auth.LoginError](err)
	return ok && login.Refused
}
