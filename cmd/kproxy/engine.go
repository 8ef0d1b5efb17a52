package main

import (
	"context"
	"strings"

	"kproxy/internal/admin"
	"kproxy/proxy/config"
)

// engine is the proxy's side of a reload.
type engine interface {
	// prepare checks next, reads its files, and binds the sockets that it needs and that are
	// not bound yet. changes are its differences from the configuration in use. The error
	// joins a [*config.Error] for each mistake. Nothing changes until apply.
	prepare(ctx context.Context, next *settings, changes []admin.Difference) (proxyChange, error)
}

// proxyChange is a change that has been prepared. The caller applies or discards it.
type proxyChange interface {
	removed() []admin.Removal // the listeners that it closes
	apply()
	discard()
}

// fixedProxy is the engine of a proxy whose configuration cannot change while it runs.
type fixedProxy struct{}

// otherKeys are the sections that are not the proxy's.
var otherKeys = []string{"admin.", "drain.delay", "log.", "reload.", "telemetry."}

func (fixedProxy) prepare(_ context.Context, next *settings, changes []admin.Difference) (proxyChange, error) {
	errs := []error{next.Proxy.CheckFiles()}
	for _, c := range changes {
		isOther := false
		for _, prefix := range otherKeys {
			isOther = isOther || strings.HasPrefix(c.Key, prefix)
		}
		if !isOther {
			errs = append(errs, &config.Error{Key: c.Key, Problem: "cannot change while kproxy runs", Fix: "restart kproxy to use it"})
		}
	}
	if err := joinAll(errs...); err != nil {
		return nil, err
	}
	return noChange{}, nil
}

// noChange changes nothing.
type noChange struct{}

func (noChange) removed() []admin.Removal { return nil }
func (noChange) apply()                   {}
func (noChange) discard()                 {}
