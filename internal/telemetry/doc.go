// Package telemetry exports a proxy's counts to Prometheus, which scrapes, and to an
// OpenTelemetry collector, which gets pushes.
//
//	proxy.Stats ──▶ producer ──┬──▶ Prometheus exporter ──▶ Handler (/metrics)
//	                (catalogue) └──▶ periodic reader ─────▶ OTLP, grpc or http
//	Go runtime, process ────────────▶ both
//
// The type to know is [Telemetry]. The metrics and their names are in catalogue.go;
// docs/metrics.md explains them, and a test compares the two.
//
// The counters live in package proxy, which knows no framework. They are read
// when a reader collects, and handed to the SDK as they are: there are no
// instruments, nothing is added up twice, and both ways out have the same
// numbers under the same names.
//
// It serves no HTTP by itself (internal/admin does), and it never slows the proxy down: a
// collector that is gone costs a log line.
package telemetry
