package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"kproxy/internal/foreign"
	"kproxy/internal/logkey"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Config says where metrics are pushed to.
type Config struct {
	Version string // kproxy's own
	OTLP    OTLP   // zero: metrics are not pushed
}

// Telemetry exports a proxy's counts.
type Telemetry struct {
	provider *metric.MeterProvider
	gatherer prometheus.Gatherer
	log      *slog.Logger
	secrets  []string // which a collector may repeat
}

// scrapeTimeout bounds one scrape. It is far below Prometheus's own default of
// 10 s, and far above the time to visit all sessions.
const scrapeTimeout = 5 * time.Second

// Loaded is telemetry that can be started. Its caller starts or closes it.
type Loaded struct {
	self     *resource.Resource
	otlp     OTLP
	exporter metric.Exporter // nil: metrics are not pushed
	secrets  []string
	log      *slog.Logger
}

// Load reads the files that conf names and the environment; conf must be valid
// (OTLP.Validate). It opens no connection. The error joins [*config.Error]s.
// OpenTelemetry has one error handler and one logger for the whole process: they become
// log.
func Load(ctx context.Context, conf *Config, log *slog.Logger) (*Loaded, error) {
	l := &Loaded{otlp: conf.OTLP, log: log}
	headers, roots, errs := conf.OTLP.read(ctx)
	l.secrets = secretsIn(headers)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry cannot be delivered", slog.Any(logkey.Error, foreign.Error(err, l.secrets...)))
	}))
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	var err error
	if l.self, err = describe(ctx, conf.Version); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 && conf.OTLP.Endpoint != "" {
		if l.exporter, err = conf.OTLP.exporter(ctx, headers, roots); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return l, nil
}

// Close ends a Telemetry that was not started.
func (l *Loaded) Close(ctx context.Context) {
	if l.exporter != nil {
		_ = l.exporter.Shutdown(ctx) // it has nothing to push
	}
}

// Start begins to export the result of stats.
func (l *Loaded) Start(stats func() proxy.Snapshot) (*Telemetry, error) {
	counts := newProducer(stats)
	own, process := prometheus.NewRegistry(), prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scraped, err := exporter.New(
		exporter.WithRegisterer(own),
		exporter.WithProducer(counts),
		exporter.WithoutScopeInfo(),
		exporter.WithTranslationStrategy(otlptranslator.NoTranslation), // the names are Prometheus's already
	)
	if err != nil {
		return nil, err
	}
	options := []metric.Option{metric.WithResource(l.self), metric.WithReader(scraped)}
	if l.exporter != nil {
		options = append(options, metric.WithReader(metric.NewPeriodicReader(l.exporter, metric.WithInterval(l.otlp.interval()),
			metric.WithProducer(counts), metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(process))))))
	}
	return &Telemetry{
		provider: metric.NewMeterProvider(options...),
		gatherer: prometheus.Gatherers{own, process},
		log:      l.log,
		secrets:  l.secrets,
	}, nil
}

// describe returns the resource. The environment (OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES) comes last and wins. The error is a [*config.Error].
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	self, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "kproxy"),
			attribute.String("service.version", version),
			attribute.String("service.instance.id", uuid.NewString()),
		),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, &config.Error{
			Key: "OTEL_RESOURCE_ATTRIBUTES", Problem: err.Error(), Fix: "write name=value, with commas between several, or unset the variable",
		}
	}
	return self, nil
}

// CheckEnvironment reads the environment's telemetry variables, as Load does. The error
// is a [*config.Error].
func CheckEnvironment(ctx context.Context) error {
	_, err := describe(ctx, "")
	return err
}

// Handler serves Prometheus's scrapes.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.gatherer, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(t.log.Handler(), slog.LevelWarn),
		EnableOpenMetrics: true,
		Timeout:           scrapeTimeout,
	})
}

// Shutdown pushes the last counts, for as long as ctx allows, and ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	err := t.provider.Shutdown(ctx)
	if errors.Is(err, metric.ErrReaderShutdown) {
		return nil
	}
	return foreign.Error(err, t.secrets...)
}
