package main

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"strings"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/logkey"
	"kproxy/internal/page"
	"kproxy/internal/telemetry"
	"kproxy/internal/tlsconf"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// operationsChange is a change of operations that has been prepared. The caller applies
// or discards it.
type operationsChange struct {
	o         *operations
	next      *settings
	telemetry *telemetry.Telemetry // that of before, or a new one; nil: there is none
	push      *telemetry.Push      // nil: the way of before
	adminIs   bool                 // the admin server's configuration changes
	secure    *tlsconf.Server      // the admin server's TLS; nil: HTTP
	server    *admin.Server        // at another address; nil: that of before stays, or there is none
}

// beforeProxy has the admin server leave its address, if the proxy has taken that.
func (c *operationsChange) beforeProxy() {
	if c.o.lent {
		c.o.admin.StopAccepting()
	}
}

// lendTo returns how the proxy opens its sockets for the configuration next. If the admin server
// moves, the proxy may have its old address, in any spelling. The function stays with next, so it
// must not refer to earlier settings: each would keep those before it.
func (o *operations) lendTo(before, next *settings) func(ctx context.Context, network, address string) (net.Listener, error) {
	o.lent = false
	listen := proxy.ListenFor(&next.Proxy.Config)
	from, to := strings.Clone(before.Admin.Bind), next.Admin.Bind
	return func(ctx context.Context, network, address string) (net.Listener, error) {
		if o.admin != nil && sameAddress(from, address) && !sameAddress(to, address) {
			lent, err := o.admin.Lend()
			if o.lent = err == nil; !o.lent {
				return nil, err
			}
			return proxy.Adopt(lent), nil
		}
		socket, err := listen(ctx, network, address)
		return socket, o.held(err)
	}
}

// held explains an error of a bind that comes from a socket of this process.
func (o *operations) held(err error) error {
	if err == nil {
		return nil
	}
	var own []net.Addr
	for _, s := range o.proxy.Sockets() {
		own = append(own, s.Listener.Addr())
	}
	if o.admin != nil {
		own = append(own, o.admin.Addr())
	}
	return withHeld(err, own, heldByItself)
}

// freedFunc returns the socket of an address that the proxy's change frees; nil: it does not.
type freedFunc = func(address string) (net.Listener, error)

// prepare reads the files that next names, and binds the admin server's address if it is
// another one. The error joins a [*config.Error] for each mistake.
func (o *operations) prepare(ctx context.Context, before, next *settings, freed freedFunc) (*operationsChange, error) {
	c := &operationsChange{o: o, next: next, telemetry: o.telemetry}
	c.adminIs = before.AllReady != next.AllReady || !reflect.DeepEqual(before.Admin, next.Admin)
	err := joinAll(c.prepareTelemetry(ctx), c.prepareAdmin(ctx, before, freed))
	if err != nil {
		c.discard(ctx)
		return nil, err
	}
	return c, nil
}

func (c *operationsChange) prepareTelemetry(ctx context.Context) error {
	next := c.next
	if c.telemetry == nil {
		if next.Admin.Bind == "" && next.OTLP.Endpoint == "" {
			return nil
		}
		conf := &telemetry.Config{Version: buildVersion().Version, Started: c.o.started}
		loaded, err := telemetry.Load(ctx, conf, c.o.log)
		if err != nil {
			return err
		}
		if c.telemetry, err = loaded.Start(c.o.proxy.Stats, c.o.state); err != nil {
			return err
		}
	}
	var err error
	c.push, err = c.telemetry.Prepare(ctx, next.OTLP)
	return err
}

func (c *operationsChange) prepareAdmin(ctx context.Context, before *settings, freed freedFunc) error {
	next := &c.next.Admin
	if !c.adminIs || next.Bind == "" {
		return nil
	}
	var err error
	if c.secure, err = next.Load(c.o.log.With(slog.String(logkey.Bind, next.Bind))); err != nil {
		return err
	}
	if c.o.admin != nil && sameAddress(before.Admin.Bind, next.Bind) {
		return nil
	}
	socket, err := freed(next.Bind)
	if err != nil {
		return err
	}
	if socket != nil {
		c.server = admin.Take(ctx, socket, c.o.log)
		return nil
	}
	if c.server, err = admin.Bind(ctx, next, c.o.log); err != nil {
		fix := bindFix(c.o.held(err), localPorts())
		if fix == "" {
			fix = "choose another address"
		}
		return &config.Error{Key: "admin.bind", Problem: strings.TrimPrefix(err.Error(), "admin.bind: "), Fix: fix}
	}
	return nil
}

// sameAddress reports whether two addresses are one socket's.
func sameAddress(a, b string) bool {
	bound := config.BoundForm(a)
	return bound != "" && bound == config.BoundForm(b)
}

// apply applies it. It does not fail.
func (c *operationsChange) apply(ctx context.Context) {
	o := c.o
	o.telemetry = c.telemetry
	if o.telemetry != nil {
		o.telemetry.Use(ctx, c.push)
	}
	if !c.adminIs {
		return
	}
	before := o.admin
	switch {
	case c.server != nil:
		o.admin = c.server
	case c.next.Admin.Bind == "":
		o.admin = nil
	}
	if o.admin != nil {
		o.admin.Use(o.site(c.next, c.secure, o.telemetry))
	}
	if c.server != nil {
		o.proxy.Own(c.server.Addr())
		o.log.Info("admin server", slog.String(logkey.Bind, c.next.Admin.Bind))
	}
	if before != nil && before != o.admin {
		o.proxy.Disown(before.Addr())
		o.retire(ctx, before)
	}
}

// retire closes an admin server that has moved, after its last responses.
func (o *operations) retire(ctx context.Context, server *admin.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), movedResponsesWait)
	ended := make(chan struct{})
	o.closing.Go(func() {
		defer close(ended)
		server.Close(ctx)
	})
	o.closing.Go(func() {
		defer cancel()
		select {
		case <-o.closed:
		case <-ended:
		}
	})
}

// discard ends what prepare has begun.
func (c *operationsChange) discard(ctx context.Context) {
	c.push.Close(ctx)
	if c.telemetry != nil && c.telemetry != c.o.telemetry {
		_ = c.telemetry.Shutdown(ctx) // it pushes nothing
	}
	if c.server != nil {
		c.server.Close(ctx)
	}
}

// site is everything that the admin server serves.
func (o *operations) site(s *settings, secure *tlsconf.Server, t *telemetry.Telemetry) *admin.Site {
	o.logging.events.Keep(true) // a reload may have added the admin server
	o.recent.Start(o.sampling)
	ready := &admin.Readiness{Proxy: o.proxy, All: s.AllReady, Configuration: o.file}
	return &admin.Site{
		Config:  &s.Admin,
		TLS:     secure,
		Ready:   ready,
		Metrics: t.Handler(),
		API: api.New(api.Parts{
			Source: o.proxy, Recent: o.recent, Events: &o.logging.events, Levels: levelControl{o.logging, o.log}, Config: o.config,
		}),
		Page: page.New(page.Parts{
			Topology: o.proxy.Topology, Recent: o.recent, Events: &o.logging.events, Ready: ready.Present,
			Generation: func() int { return o.state().Generation }, Version: buildVersion().Version, Started: o.started,
		}),
		Reload:  o.reload,
		Upgrade: o.upgrade,
	}
}
