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
)

// Config says who is told, and as whom.
type Config struct {
	Version string // kproxy's own
	OTLP    OTLP   // zero: nobody is pushed to
}

// Telemetry is a proxy's counts on their way out.
type Telemetry struct {
	provider *metric.MeterProvider
	gatherer prometheus.Gatherer
	log      *slog.Logger
	secrets  []string // which a collector may repeat
}

// scrapeTimeout bounds one scrape. It is far below Prometheus's own default of
// 10 s, and far above what going through all sessions takes.
const scrapeTimeout = 5 * time.Second

// Start begins to tell what stats returns; conf must be valid (OTLP.Validate).
// It reads the files that conf names, and connects to nobody yet. OpenTelemetry
// has one error handler and one logger for the whole process: they become log.
func Start(ctx context.Context, conf *Config, stats func() proxy.Snapshot, log *slog.Logger) (*Telemetry, error) {
	headers, err := conf.OTLP.headers(ctx)
	if err != nil {
		return nil, err
	}
	secrets := secretsIn(headers)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry cannot be delivered", slog.Any(logkey.Error, foreign.Error(err, secrets...)))
	}))
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))

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
	self, err := describe(ctx, conf.Version)
	if err != nil {
		return nil, err
	}
	options := []metric.Option{metric.WithResource(self), metric.WithReader(scraped)}
	if conf.OTLP.Endpoint != "" {
		pushed, err := conf.OTLP.reader(ctx, headers, counts, bridge.NewMetricProducer(bridge.WithGatherer(process)))
		if err != nil {
			return nil, err
		}
		options = append(options, metric.WithReader(pushed))
	}
	return &Telemetry{
		provider: metric.NewMeterProvider(options...),
		gatherer: prometheus.Gatherers{own, process},
		log:      log,
		secrets:  secrets,
	}, nil
}

// describe says who is telling. What the environment says (OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES) comes last and wins.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "kproxy"),
			attribute.String("service.version", version),
			attribute.String("service.instance.id", uuid.NewString()),
		),
		resource.WithFromEnv(),
	)
}

// Handler answers Prometheus's scrapes.
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
