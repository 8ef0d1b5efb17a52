package main

import (
	"context"
	"errors"
	"log/slog"

	"kproxy/internal/logkey"
	"kproxy/internal/telemetry"
	"kproxy/internal/tlsconf"
	"kproxy/proxy"
)

// prepared has everything that serve makes from a configuration before it binds anything.
type prepared struct {
	proxy     *proxy.Proxy
	admin     *tlsconf.Server   // nil: the admin server has no TLS, or there is none
	telemetry *telemetry.Loaded // nil: metrics are neither served nor pushed
}

// prepare reads everything that serve reads: the files, secrets and variables that the
// configuration names. serve and check both call it, after loadConfig, so that check
// refuses every configuration that serve refuses. The error is a [*usageError] with a
// line for each mistake. Only two failures show later: binding, and locking state_dir.
func prepare(ctx context.Context, s *settings, logger *slog.Logger) (*prepared, error) {
	s.Proxy.Logger = logger
	var p prepared
	var proxyErr, adminErr, telemetryErr error
	p.proxy, proxyErr = proxy.New(&s.Proxy)
	p.admin, adminErr = s.Admin.Load(logger.With(slog.String(logkey.Bind, s.Admin.Bind)))
	if s.Admin.Bind != "" || s.OTLP.Endpoint != "" {
		conf := &telemetry.Config{Version: buildVersion().Version, OTLP: s.OTLP}
		p.telemetry, telemetryErr = telemetry.Load(ctx, conf, logger)
	}
	if err := joinAll(proxyErr, adminErr, telemetryErr); err != nil {
		p.close(ctx)
		return nil, s.mistakes(err)
	}
	return &p, nil
}

// close ends parts that were not started.
func (p *prepared) close(ctx context.Context) {
	if p.telemetry != nil {
		p.telemetry.Close(ctx)
	}
}

// joinAll joins errors, and those that they join, in one.
func joinAll(errs ...error) error {
	var all []error
	for _, err := range errs {
		all = append(all, unjoin(err)...)
	}
	return errors.Join(all...)
}
