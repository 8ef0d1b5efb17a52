// Package telemetry tells the world what a proxy counts: to a Prometheus that
// scrapes, and to an OpenTelemetry collector that is pushed to.
//
//	proxy.Stats ──▶ producer ──┬──▶ Prometheus exporter ──▶ Handler (/metrics)
//	                (catalogue) └──▶ periodic reader ─────▶ OTLP, grpc or http
//	Go runtime, process ────────────▶ both
//
// The type to know is [Telemetry]. What there is to measure, and how it is
// called, is the catalogue in catalogue.go; docs/metrics.md explains it, and a
// test compares the two.
//
// The counters live in package proxy, which knows no framework. They are read
// when a reader collects, and handed to the SDK as they are: there are no
// instruments, nothing is added up twice, and both ways out have the same
// numbers under the same names.
//
// What it does not do: it serves no HTTP by itself (internal/admin does), and it
// never slows the proxy down; a collector that is gone costs a log line.
package telemetry
