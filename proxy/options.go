package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net"

	"kproxy/proxy/config"
)

// Config is the configuration of a Proxy, and the functions that it calls. It must not change
// after New.
type Config struct {
	config.Config

	Logger   *slog.Logger // nil: discards
	Observer *Observer    // nil: none

	// Listen opens a listening socket; nil: the function Listen.
	Listen listenFunc
	// Dial reaches an address that the dial rules chose; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

type listenFunc = func(ctx context.Context, network, address string) (net.Listener, error)

// Listen opens a listening socket. Keep-alive probes find clients that are gone.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAliveConfig: clientKeepalive}).Listen(ctx, network, address)
}

// withDefaults returns a copy of c, with plan's configuration, and its zero fields filled in.
func (c *Config) withDefaults(plan *config.Plan) Config {
	d := *c
	d.Config = plan.Config
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	if d.Listen == nil {
		d.Listen = Listen
	}
	return d
}
