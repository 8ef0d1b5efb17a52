package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/hostport"
	"kproxy/internal/telemetry"
)

// demoAdminPort is the port that the README's configuration gives the admin server, and the
// default of --admin.
const demoAdminPort = 9400

// demoAdmin is the demo's admin server: that of serve, without a file to reload.
type demoAdmin struct {
	ops  *operations
	bind string       // a loopback address, which needs no token
	log  *slog.Logger // nothing is printed; the status page has the lines
}

func newDemoAdmin(ports *demoPorts) (*demoAdmin, error) {
	logging, err := newLogSettings(logKeys{Level: "info", Format: "text"})
	if err != nil {
		return nil, err
	}
	port, err := ports.free(demoAdminPort, 1)
	if err != nil {
		return nil, err
	}
	log := newServingLogger(io.Discard, logging)
	began := telemetry.State{Generation: 1, LastReload: time.Now()}
	return &demoAdmin{log: log, bind: hostport.Join("127.0.0.1", int32(port)), ops: &operations{
		log:     log,
		logging: logging,
		config:  func() api.Config { return api.Config{File: "kproxy demo", Generation: began.Generation} },
		state:   func() telemetry.State { return began },
	}}, nil
}

// start binds the address, and serves until ops.close.
func (a *demoAdmin) start(ctx context.Context) error {
	s := &settings{File: "kproxy demo", Admin: admin.Config{Bind: a.bind}}
	if err := a.ops.open(ctx, s, admin.Bind); err != nil {
		return err
	}
	loaded, err := telemetry.Load(ctx, &telemetry.Config{Version: buildVersion().Version}, a.log)
	if err != nil {
		return err
	}
	return a.ops.start(s, &prepared{telemetry: loaded})
}
