package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/api"
	"kproxy/internal/logkey"
	"kproxy/internal/recent"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
)

// Both bound the time from the last client's end to the process's end.
const (
	lastPushTimeout   = 5 * time.Second // the push of the last counts, to a collector that may be gone
	lastResponsesWait = time.Second     // responses of the admin server
)

// movedResponsesWait is how long the responses may take that an admin server still writes
// after it has moved to another address. That of the reload is one of them.
const movedResponsesWait = 40 * time.Second

// operations are the servers and exporters that serve runs beside the proxy, for its
// operators. A reload changes them (operationschange.go).
type operations struct {
	proxy   *proxy.Proxy
	log     *slog.Logger
	logging *logSettings
	config  func() api.Config
	started time.Time

	// The reloader's, for the admin server and the metrics.
	state  func() telemetry.State
	file   func() admin.Configuration
	reload func(context.Context, admin.Reload) (admin.Reloaded, error)
	// upgrade is the upgrader's; nil: there is none.
	upgrade func(context.Context, admin.Upgrade) (admin.Upgraded, error)

	telemetry *telemetry.Telemetry // nil: there is no exporter
	admin     *admin.Server        // nil: there is no admin server
	lent      bool                 // its socket, to the proxy's change that is prepared

	recent   *recent.Sampler // of the first site on
	sampling context.Context // ends by close
	noMore   context.CancelFunc

	closing sync.WaitGroup // admin servers that have moved
	closed  chan struct{}  // closed by close
}

// open binds the address of the admin server, by a function. Requests wait until start.
func (o *operations) open(ctx context.Context, s *settings, bind bindFunc) error {
	o.started, o.closed = time.Now(), make(chan struct{})
	o.recent = recent.New(o.proxy.Stats)
	o.sampling, o.noMore = context.WithCancel(context.WithoutCancel(ctx))
	if s.Admin.Bind == "" {
		return nil
	}
	var err error
	if o.admin, err = bind(ctx, &s.Admin, o.log); err != nil {
		return s.inFile(withBindFix(err))
	}
	o.proxy.Own(o.admin.Addr())
	return nil
}

// bindFunc binds the address of an admin server.
type bindFunc = func(ctx context.Context, c *admin.Config, log *slog.Logger) (*admin.Server, error)

// start starts the configured ones. Without a process that hands over, it comes before the proxy, so
// that readiness can be asked from the first moment on.
func (o *operations) start(s *settings, ready *prepared) error {
	if ready.telemetry == nil {
		return nil
	}
	var err error
	if o.telemetry, err = ready.telemetry.Start(o.proxy.Stats, o.state); err != nil {
		return s.inFile(err)
	}
	ready.telemetry = nil // it is the operations' now
	if o.admin != nil {
		o.admin.Use(o.site(s, ready.admin, o.telemetry))
		o.log.Info("admin server", slog.String(logkey.Bind, s.Admin.Bind))
	}
	return nil
}

// handOver leaves the admin server's address to another process, which serves there. Responses that
// are under way are delivered. The last counts are pushed at the end of this process.
func (o *operations) handOver(ctx context.Context) {
	if o.admin != nil {
		o.admin.StopAccepting()
		o.retire(ctx, o.admin)
		o.admin = nil
	}
}

// readFiles reads the admin server's certificate and key now.
func (o *operations) readFiles() {
	if o.admin != nil {
		o.admin.ReadFiles()
	}
}

// inFile prefixes an error with the configuration file's name.
func (s *settings) inFile(err error) error { return fmt.Errorf("%s: %w", s.File, err) }

// close pushes the last counts, and ends the admin server, which has served until now. It comes after
// open, whether start has come or not.
func (o *operations) close(ctx context.Context) {
	o.noMore()
	o.recent.Wait()
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
	retired := make(chan struct{})
	go func() {
		defer close(retired)
		o.closing.Wait()
	}()
	select { // the response to a hand-over may be on its way
	case <-retired:
	case <-time.After(lastResponsesWait):
	}
	close(o.closed)
	<-retired
}
