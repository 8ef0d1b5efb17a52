package main

import (
	"context"
	"net"

	"kproxy/internal/admin"
	"kproxy/proxy"
)

// engine is the proxy's side of a reload.
type engine interface {
	// prepare checks next, reads its files, and binds the sockets that it needs and that are
	// not bound yet. The error joins a [*config.Error] for each mistake. Nothing changes until
	// apply.
	prepare(ctx context.Context, next *settings) (proxyChange, error)
}

// proxyChange is a change that has been prepared. The caller applies or discards it.
type proxyChange interface {
	removed() []admin.Removal // the listeners that it closes
	// freed returns the socket of an address that the change frees; nil: it does not.
	freed(address string) (net.Listener, error)
	apply()
	discard()
}

// proxyEngine is the engine of a running proxy.
type proxyEngine struct{ proxy *proxy.Proxy }

func (e proxyEngine) prepare(ctx context.Context, next *settings) (proxyChange, error) {
	c, err := e.proxy.Prepare(ctx, &next.Proxy)
	if err != nil {
		return nil, withBindFix(err)
	}
	return preparedProxy{c}, nil
}

// preparedProxy is a [*proxy.Change].
type preparedProxy struct{ change *proxy.Change }

func (p preparedProxy) removed() []admin.Removal {
	var all []admin.Removal
	for _, r := range p.change.Removed() {
		all = append(all, admin.Removal(r))
	}
	return all
}

func (p preparedProxy) freed(address string) (net.Listener, error) { return p.change.Freed(address) }

func (p preparedProxy) apply()   { p.change.Apply() }
func (p preparedProxy) discard() { p.change.Discard() }
