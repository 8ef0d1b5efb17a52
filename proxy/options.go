package proxy

import (
	"cmp"
	"context"
	"log/slog"
	"net"

	"kproxy/internal/sharedsocket"
	"kproxy/proxy/config"
)

// Config is the configuration of a Proxy, and the functions that it calls. It must not change
// after New.
type Config struct {
	config.Config

	Logger   *slog.Logger // nil: discards
	Observer *Observer    // nil: none

	// Listen opens a listening socket; nil: the function of ListenFor.
	Listen listenFunc
	// BeforeState, if set, is called by Open when every socket is bound, before the state files are
	// locked and read. An error of it is one of Open. A process that takes over from another waits
	// here for the other one to unlock them.
	BeforeState func(ctx context.Context) error
	// IDsAbove is a number above which Connection.ID begins: Proxy.NextIDsAbove of the process from which
	// this one takes over; 0: the first one is 1.
	IDsAbove uint64
	// Dial reaches an address that the dial rules chose; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

type listenFunc = func(ctx context.Context, network, address string) (net.Listener, error)

// Listen opens a listening socket. Keep-alive probes find clients that are gone.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAliveConfig: clientKeepalive}).Listen(ctx, network, address)
}

// listenShared is Listen for config.Config.ReusePort.
func listenShared(ctx context.Context, network, address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAliveConfig: clientKeepalive, Control: sharedsocket.ReusePort}).Listen(ctx, network, address)
}

// ListenFor returns the one of both that a configuration asks for.
func ListenFor(c *config.Config) func(ctx context.Context, network, address string) (net.Listener, error) {
	if c.ReusePort {
		return listenShared
	}
	return Listen
}

// Adopt returns a listener for Config.Listen of a TCP socket that was opened elsewhere: by another
// process, or by a service manager. Its connections get the keep-alive probes of those of Listen.
func Adopt(socket net.Listener) net.Listener {
	if tcp, ok := socket.(*net.TCPListener); ok {
		return &adopted{tcp}
	}
	return socket
}

type adopted struct{ *net.TCPListener }

// Accept waits for a connection.
func (a *adopted) Accept() (net.Conn, error) {
	conn, err := a.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = conn.SetKeepAliveConfig(clientKeepalive) // a connection that has failed shows at the first read
	return conn, nil
}

// withDefaults returns a copy of c, with plan's configuration, and its zero fields filled in.
func (c *Config) withDefaults(plan *config.Plan) Config {
	d := *c
	d.Config = plan.Config
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	if d.Listen == nil {
		d.Listen = ListenFor(&d.Config)
	}
	return d
}
