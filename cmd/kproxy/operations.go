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

// Both bound how long kproxy, with all clients served, still takes to end.
const (
	lastPushTimeout = 5 * time.Second // the last counts, to a collector that may be gone
	lastAnswersWait = time.Second     // answers of the admin server
)

// operations are what serve runs beside the proxy, for those who operate it. The
// zero value is nothing.
type operations struct {
	telemetry *telemetry.Telemetry // nil: nobody is told
	admin     *admin.Server        // nil: nobody can ask
	log       *slog.Logger
}

// startOperations starts what the configuration asks for. It comes before the
// proxy, so that readiness can be asked from the first moment on.
func startOperations(ctx context.Context, s *settings, ready *prepared, logger *slog.Logger) (*operations, error) {
	o := &operations{log: logger}
	if ready.telemetry == nil {
		return o, nil
	}
	p := ready.proxy
	var err error
	if o.telemetry, err = ready.telemetry.Start(p.Stats); err != nil {
		ready.close(ctx)
		return nil, s.inFile(err)
	}
	if s.Admin.Bind == "" {
		return o, nil
	}
	readiness := &admin.Readiness{Proxy: p, All: s.AllReady}
	if o.admin, err = admin.Listen(ctx, &s.Admin, ready.admin, readiness, o.telemetry.Handler(), logger); err != nil {
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

// inFile names the configuration file in front of an error of what it asks for.
func (s *settings) inFile(err error) error { return fmt.Errorf("%s: %w", s.File, err) }

// close pushes the last counts, and ends the admin server, which has answered
// until now.
func (o *operations) close(ctx context.Context) {
	if o.telemetry != nil {
		ctx, cancel := context.WithTimeout(ctx, lastPushTimeout)
		defer cancel()
		if err := o.telemetry.Shutdown(ctx); err != nil {
			o.log.Warn("the last counts were not delivered", slog.Any(logkey.Error, err))
		}
	}
	if o.admin != nil {
		ctx, cancel := context.WithTimeout(ctx, lastAnswersWait)
		defer cancel()
		o.admin.Close(ctx)
	}
}
