//go:build small

package telemetry

import (
	"context"
	"crypto/x509"
	"errors"

	"go.opentelemetry.io/otel/sdk/metric"

	"kproxy/proxy/config"
)

const linked = false

// exporter returns an error: Validate refuses every endpoint before.
func (o *OTLP) exporter(context.Context, map[string]string, *x509.CertPool) (metric.Exporter, error) {
	return nil, &config.Error{Key: key + ".endpoint", Problem: errors.ErrUnsupported.Error(), Fix: "use a kproxy that is built without the tag small"}
}
