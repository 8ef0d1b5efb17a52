package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net"
)

// Conf is the configuration of a Proxy, and the code that it is given. It must not change
// after New.
type Conf struct {
	Config

	Logger   *slog.Logger // nil: discards
	Observer *Observer    // nil: none

	// Listen opens a listening socket; nil: net.ListenConfig.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// Dial reaches an address that the dial rules chose; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// withDefaults returns a copy of c with its zero fields filled in.
func (c *Conf) withDefaults() Conf {
	d := *c
	d.Config = c.Config.withDefaults()
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	if d.Listen == nil {
		d.Listen = (&net.ListenConfig{KeepAliveConfig: clientKeepalive}).Listen
	}
	return d
}
