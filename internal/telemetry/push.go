package telemetry

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
)

// lastPushTimeout is how long the last push to a collector may take after another one has
// replaced it.
const lastPushTimeout = 5 * time.Second

// Push is the way to a collector: its settings, and the files that these name.
type Push struct {
	otlp     OTLP
	headers  map[string]string
	roots    *x509.CertPool
	secrets  []string        // in headers; the collector may repeat them
	exporter metric.Exporter // nil: metrics are not pushed
}

// same reports whether both lead to the same collector in the same way.
func (p *Push) same(other *Push) bool {
	return p.otlp == other.otlp && maps.Equal(p.headers, other.headers) && p.roots.Equal(other.roots)
}

// open makes the exporter. It connects at the first push.
func (p *Push) open(ctx context.Context) (err error) {
	if p.otlp.Endpoint != "" {
		p.exporter, err = p.otlp.exporter(ctx, p.headers, p.roots)
	}
	return err
}

// Close ends a Push that is not used. p may be nil.
func (p *Push) Close(ctx context.Context) {
	if p != nil && p.exporter != nil {
		_ = p.exporter.Shutdown(ctx) // it has nothing to push
	}
}

// Prepare reads the files that conf names, for Use; conf must be valid. It returns nil if
// neither settings nor files have changed. The error joins [*config.Error]s.
func (t *Telemetry) Prepare(ctx context.Context, conf OTLP) (*Push, error) {
	next, errs := conf.read(ctx)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.mu.Lock()
	unchanged := next.same(t.push)
	t.mu.Unlock()
	if unchanged {
		return nil, nil
	}
	if err := next.open(ctx); err != nil {
		return nil, err
	}
	return next, nil
}

// Use pushes in another way from now on. The previous collector gets the last counts in
// the background. next is the result of Prepare; nil changes nothing.
func (t *Telemetry) Use(ctx context.Context, next *Push) {
	if next == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.pushed
	t.secrets.set(slices.Concat(t.push.secrets, next.secrets))
	t.push, t.pushed = next, t.start(next)
	if before == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	t.ending.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, lastPushTimeout)
		defer cancel()
		if err := before.Shutdown(ctx); err != nil {
			t.log.Warn("the last counts were not delivered to the collector that is no longer used",
				slog.Any(logkey.Error, foreign.Error(err, t.secrets.all()...)))
		}
	})
}

// start starts the pushes, if there are any.
func (t *Telemetry) start(p *Push) *metric.MeterProvider {
	if p.exporter == nil {
		return nil
	}
	return metric.NewMeterProvider(metric.WithResource(t.self), metric.WithReader(metric.NewPeriodicReader(p.exporter,
		metric.WithInterval(p.otlp.interval()), metric.WithProducer(t.counts),
		metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(t.process))))))
}

// secrets are texts that no log line may have: those of the present headers, and of the
// ones before, which a late error may quote.
type secrets struct{ list atomic.Pointer[[]string] }

func (s *secrets) set(list []string) { s.list.Store(&list) }

func (s *secrets) all() []string {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}
