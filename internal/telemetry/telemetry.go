package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
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
	Version string    // kproxy's own
	Started time.Time // since when the proxy counts; zero: now
	OTLP    OTLP      // zero: metrics are not pushed
}

// State describes the configuration in use, for its metrics.
type State struct {
	Generation int       // 1 at the start, one more for each change that is applied
	LastReload time.Time // of the last attempt, or the start
	Failed     bool      // the last attempt was not applied, because of a mistake
	Reloads    Reloads

	Handover Handover
}

// Reloads counts the times that the configuration was read to be applied.
type Reloads struct {
	Applied  int64 // whether it differed or not
	HeldBack int64 // the file had changed, and waits for the operator
	Refused  int64 // it had a mistake
}

// Handover describes the hand-overs of a process, for their metrics.
type Handover struct {
	Took     time.Time // when this process took over from another; zero: it did not
	Sessions int       // that the other one still has
	Ended    time.Time // when the other one ended; zero: it has not
	Failures int64     // hand-overs to a new process that did not take over
}

// Telemetry exports a proxy's counts.
type Telemetry struct {
	self     *resource.Resource
	counts   *producer
	scraped  *metric.MeterProvider
	process  prometheus.Gatherer
	gatherer prometheus.Gatherer // of all that is scraped
	log      *slog.Logger
	secrets  *secrets

	mu     sync.Mutex // guards the following
	push   *Push
	pushed *metric.MeterProvider // nil: metrics are not pushed
	ending sync.WaitGroup        // pushes that a later one has replaced
}

// scrapeTimeout bounds one scrape. It is far below Prometheus's own default of
// 10 s, and far above the time to visit all sessions.
const scrapeTimeout = 5 * time.Second

// Loaded is telemetry that can be started. Its caller starts or closes it.
type Loaded struct {
	self    *resource.Resource
	started time.Time
	push    *Push
	secrets *secrets
	log     *slog.Logger
}

// Load reads the files that conf names and the environment; conf must be valid
// (OTLP.Validate). It opens no connection. The error joins [*config.Error]s.
// OpenTelemetry has one error handler and one logger for the whole process: they become
// log.
func Load(ctx context.Context, conf *Config, log *slog.Logger) (*Loaded, error) {
	l := &Loaded{started: conf.Started, secrets: &secrets{}, log: log}
	if l.started.IsZero() {
		l.started = time.Now()
	}
	push, errs := conf.OTLP.read(ctx)
	l.push = push
	l.secrets.set(push.secrets)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry cannot be delivered", slog.Any(logkey.Error, foreign.Error(err, l.secrets.all()...)))
	}))
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	var err error
	if l.self, err = describe(ctx, conf.Version); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		if err = push.open(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return l, nil
}

// Close ends a Telemetry that was not started.
func (l *Loaded) Close(ctx context.Context) { l.push.Close(ctx) }

// Start begins to export the results of stats and state.
func (l *Loaded) Start(stats func() proxy.Snapshot, state func() State) (*Telemetry, error) {
	own, process := prometheus.NewRegistry(), prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t := &Telemetry{
		self:     l.self,
		counts:   newProducer(stats, state, l.started),
		process:  process,
		gatherer: prometheus.Gatherers{own, process},
		log:      l.log,
		secrets:  l.secrets,
	}
	scraped, err := exporter.New(
		exporter.WithRegisterer(own),
		exporter.WithProducer(t.counts),
		exporter.WithoutScopeInfo(),
		exporter.WithTranslationStrategy(otlptranslator.NoTranslation), // the names are Prometheus's already
	)
	if err != nil {
		return nil, err
	}
	t.scraped = metric.NewMeterProvider(metric.WithResource(l.self), metric.WithReader(scraped))
	t.push, t.pushed = l.push, t.start(l.push)
	return t, nil
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
	t.mu.Lock()
	pushed := t.pushed
	t.mu.Unlock()
	err := ignoreShutdown(t.scraped.Shutdown(ctx))
	if pushed != nil {
		err = errors.Join(err, ignoreShutdown(pushed.Shutdown(ctx)))
	}
	t.ending.Wait()
	return foreign.Error(err, t.secrets.all()...)
}

// ignoreShutdown drops the error of a second Shutdown.
func ignoreShutdown(err error) error {
	if errors.Is(err, metric.ErrReaderShutdown) {
		return nil
	}
	return err
}
