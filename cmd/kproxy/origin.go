package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/handover"
	"kproxy/internal/logkey"
	"kproxy/internal/supervisor"
	"kproxy/internal/wait"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// origin is how a serve came to be, and the signals that it gets. The zero origin is that of a serve
// that gets none.
type origin struct {
	hangups, upgrades <-chan os.Signal

	from    *handover.Predecessor // nil: it was started in the ordinary way
	sockets *handover.Sockets     // those that were there before; nil: none
	program string                // the path by which a new process is started; "": it is not known
}

// newOrigin takes the sockets of the process before, or those of systemd.
func newOrigin(ctx context.Context, hangups, upgrades <-chan os.Signal) (*origin, error) {
	o := &origin{hangups: hangups, upgrades: upgrades, program: programPath()}
	var err error
	if o.from, err = handover.Inherit(); err != nil {
		return nil, &usageError{err}
	}
	if o.from != nil {
		if err := o.from.Receive(ctx); err != nil {
			o.from.Fail(err)
			return nil, err
		}
		o.sockets = &o.from.Sockets
		return o, nil
	}
	activated, err := supervisor.Sockets()
	if err != nil {
		return nil, &usageError{err}
	}
	o.sockets = &handover.Sockets{}
	for _, s := range activated {
		if err := o.sockets.Add(config.BoundForm(s.Listener.Addr().String()), s.Listener); err != nil {
			return nil, &usageError{fmt.Errorf("systemd passes %w, named %s; remove one from the socket units", err, s.Name)}
		}
	}
	return o, nil
}

// listenFor returns a function that opens a socket for the proxy, or takes one that is there.
func (o *origin) listenFor(c *config.Config) func(ctx context.Context, network, address string) (net.Listener, error) {
	open := proxy.ListenFor(c)
	return func(ctx context.Context, network, address string) (net.Listener, error) {
		if socket := o.sockets.Take(config.BoundForm(address)); socket != nil {
			return proxy.Adopt(socket), nil
		}
		socket, err := open(ctx, network, address)
		return socket, o.held(err)
	}
}

// held explains an error of a bind that comes from a socket which was there before.
func (o *origin) held(err error) error {
	if err == nil {
		return nil
	}
	fix := heldBySystemd
	if o.from != nil {
		fix = heldByPredecessor
	}
	return withHeld(err, o.sockets.Addrs(), fix)
}

// bindAdmin is listenFor for the admin server.
func (o *origin) bindAdmin(ctx context.Context, c *admin.Config, log *slog.Logger) (*admin.Server, error) {
	if socket := o.sockets.Take(config.BoundForm(c.Bind)); socket != nil {
		return admin.Take(ctx, socket, log), nil
	}
	server, err := admin.Bind(ctx, c, log)
	return server, o.held(err)
}

// closeRest closes the sockets that the configuration has no use for.
func (o *origin) closeRest(log *slog.Logger) {
	left := o.sockets.Close()
	if len(left) == 0 {
		return
	}
	fix := "remove them from the socket units: systemd still accepts their connections, and they are not served"
	if o.from != nil {
		fix = "this is as it should be if they were removed from the configuration"
	}
	const most = 20
	shown := strings.Join(left[:min(len(left), most)], ", ")
	if len(left) > most {
		shown += fmt.Sprintf(" and %d more", len(left)-most)
	}
	log.Warn("listening sockets are closed that the configuration does not have",
		slog.Int(logkey.Sockets, len(left)), slog.String(logkey.Bind, shown), slog.String(logkey.Fix, fix))
}

// readyLook is how often a new process looks whether it is ready, and statusEach how often it says at
// least that it is not.
const (
	readyLook  = 50 * time.Millisecond
	statusEach = time.Second
)

// awaitTurn waits until this process is ready, and the one before gives way. Without one it returns
// at once, and so it does when the one before has ended.
func (o *origin) awaitTurn(ctx context.Context, ready *admin.Readiness) error {
	var told time.Time
	for o.from != nil && !o.from.IsLost() {
		reasons := ready.Reasons(ctx)
		if len(reasons) == 0 {
			break
		}
		if time.Since(told) >= statusEach {
			told = time.Now()
			if err := o.from.Status(ctx, strings.Join(append(reasons, lastErrors(ready.Proxy.Health())...), "; ")); err != nil {
				return err
			}
		}
		wait.Sleep(ctx, readyLook)
		if ctx.Err() != nil {
			return admin.ErrStopping
		}
	}
	return o.from.AwaitTurn(ctx, buildVersion().Version)
}

// lastErrors are those of the clusters that have not responded.
func lastErrors(h proxy.Health) []string {
	var all []string
	for _, c := range h.Clusters {
		if c.LastError != nil {
			all = append(all, fmt.Sprintf("cluster %s: %s", c.Name, strings.ReplaceAll(c.LastError.Error(), "\n", "; ")))
		}
	}
	return all
}

// programPath returns the path at which a newer program is to be found: that by which this one was
// started, as long as it leads to this one now. It may be a symbolic link that an upgrade changes,
// which os.Executable has followed.
func programPath() string {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return self
	}
	if path, err = filepath.Abs(path); err != nil {
		return self
	}
	named, err := os.Stat(path) //nolint:gosec // the path of this program
	if err != nil {
		return self
	}
	running, err := os.Stat(self)
	if err != nil || !os.SameFile(named, running) {
		return self
	}
	return path
}
