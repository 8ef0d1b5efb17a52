//go:build !small

package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc/credentials"

	"kproxy/proxy/config"
)

// linked reports whether this program can push metrics. The build tag small leaves out the
// exporters, gRPC and protobuf: 8 MB.
const linked = true

// pushTimeout bounds one push by HTTP, as OpenTelemetry's own default does.
const pushTimeout = 10 * time.Second

// defaultPath is the path at which a collector takes metrics by HTTP.
const defaultPath = "/v1/metrics"

// exporter makes the exporter that pushes to the collector. The error is a [*config.Error].
func (o *OTLP) exporter(ctx context.Context, headers map[string]string, roots *x509.CertPool) (metric.Exporter, error) {
	push := o.pushGRPC
	if o.Protocol == HTTP {
		push = o.pushHTTP
	}
	exporter, err := push(ctx, headers, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, &config.Error{Key: key + ".endpoint", Problem: err.Error(), Fix: "write the collector's host:port, such as collector:4317"}
	}
	return exporter, nil
}

func (o *OTLP) pushGRPC(ctx context.Context, headers map[string]string, conf *tls.Config) (metric.Exporter, error) {
	security := otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(conf))
	if o.Insecure {
		security = otlpmetricgrpc.WithInsecure()
	}
	return otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(o.Endpoint), otlpmetricgrpc.WithHeaders(headers), security)
}

func (o *OTLP) pushHTTP(ctx context.Context, headers map[string]string, conf *tls.Config) (metric.Exporter, error) {
	host, path := o.Endpoint, defaultPath
	if u, ok := o.url(); ok {
		host = u.Host
		if u.Path != "" && u.Path != "/" {
			path = u.Path
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // as package http documents
	transport.TLSClientConfig = conf
	transport.DisableKeepAlives = true // net/http writes bytes that come on an idle connection to stderr, and they may hold the headers
	client := &http.Client{
		Transport: transport,
		Timeout:   pushTimeout,
		// A redirect would send the headers, which are secrets, to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	options := []otlpmetrichttp.Option{
		otlpmetrichttp.WithEndpoint(host), otlpmetrichttp.WithURLPath(path), otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithHTTPClient(client),
	}
	if o.Insecure {
		options = append(options, otlpmetrichttp.WithInsecure())
	}
	return otlpmetrichttp.New(ctx, options...)
}
