package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/logkey"
	"kproxy/internal/telemetry"
)

// Both bound the time from the last client's end to the process's end.
const (
	lastPushTimeout   = 5 * time.Second // the push of the last counts, to a collector that may be gone
	lastResponsesWait = time.Second     // responses of the admin server
)

// operations are the servers and exporters that serve runs beside the proxy, for its
// operators. The zero value has none.
type operations struct {
	telemetry *telemetry.Telemetry // nil: there is no exporter
	admin     *admin.Server        // nil: there is no admin server
	log       *slog.Logger
}

// startOperations starts the configured ones. It comes before the
// proxy, so that readiness can be asked from the first moment on.
func startOperations(ctx context.Context, s *settings, ready *prepared, logger *slog.Logger) (*operations, error) {
	o := &operations{log: logger}
	if ready.telemetry == nil {
		return o, nil
	}
	p := ready.proxy
	var err error
	if o.telemetry, err = ready.telemetry.Start(p.Stats, func() telemetry.State { return telemetry.State{Generation: 1} }); err != nil {
		ready.close(ctx)
		return nil, s.inFile(err)
	}
	if s.Admin.Bind == "" {
		return o, nil
	}
	readiness := &admin.Readiness{Proxy: p, All: s.AllReady}
	site := &admin.Site{Config: &s.Admin, TLS: ready.admin, Ready: readiness, Metrics: o.telemetry.Handler()}
	if o.admin, err = admin.Listen(ctx, site, logger); err != nil {
		o.close(ctx)
		return nil, s.inFile(withBindFix(err))
	}
	p.Own(o.admin.Addr())
	logger.Info("admin server", slog.String(logkey.Bind, s.Admin.Bind))
	return o, nil
}

// readFiles reads the admin server's certificate and key now.
func (o *operations) readFiles() {
	if o.admin != nil {
		o.admin.ReadFiles()
	}
}

// inFile prefixes an error with the configuration file's name.
func (s *settings) inFile(err error) error { return fmt.Errorf("%s: %w", s.File, err) }

// close pushes the last counts, and ends the admin server, which has served until now.
func (o *operations) close(ctx context.Context) {
	if o.telemetry != nil {
		ctx, cancel := context.WithTimeout(ctx, lastPushTimeout)
		defer cancel()
		if err := o.telemetry.Shutdown(ctx); err != nil {
			o.log.Warn("the last counts were not delivered", slog.Any(logkey.Error, err))
		}
	}
	if o.admin != nil {
		ctx, cancel := context.WithTimeout(ctx, lastResponsesWait)
		defer cancel()
		o.admin.Close(ctx)
	}
}
