package telemetry

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kproxy/proxy"
)

// producer gives the SDK a proxy's counts, by the catalogue.
type producer struct {
	stats   func() proxy.Snapshot
	state   func() State
	started time.Time // since when it counts
	metrics []family
	bounds  []float64 // of the histograms' buckets, in seconds
}

func newProducer(stats func() proxy.Snapshot, state func() State, started time.Time) *producer {
	p := &producer{stats: stats, state: state, started: started, metrics: catalogue()}
	for _, b := range proxy.DurationBounds() {
		p.bounds = append(p.bounds, b.Seconds())
	}
	return p
}

// Produce is called by each reader when it collects.
func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	c := collection{producer: p, at: time.Now(), snapshot: p.stats(), state: p.state()}
	scope := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: "kproxy"}}
	for i := range p.metrics {
		m := &p.metrics[i]
		scope.Metrics = append(scope.Metrics, metricdata.Metrics{
			Name: m.name, Unit: m.unit, Description: m.help, Data: c.data(m),
		})
	}
	return []metricdata.ScopeMetrics{scope}, nil
}

// collection is one snapshot on its way to the SDK.
type collection struct {
	*producer
	at       time.Time
	snapshot proxy.Snapshot
	state    State
}

func (c *collection) data(m *family) metricdata.Aggregation {
	switch m.kind {
	case histogram:
		return metricdata.Histogram[float64]{DataPoints: c.histograms(m), Temporality: metricdata.CumulativeTemporality}
	case gauge:
		return metricdata.Gauge[int64]{DataPoints: c.points(m)}
	default:
		return metricdata.Sum[int64]{DataPoints: c.points(m), Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	}
}

func (c *collection) points(m *family) []metricdata.DataPoint[int64] {
	var points []metricdata.DataPoint[int64]
	add := func(samples []sample, labels ...attribute.KeyValue) {
		for _, s := range samples {
			points = append(points, metricdata.DataPoint[int64]{
				Attributes: attribute.NewSet(slices.Concat(labels, s.labels)...),
				StartTime:  c.started, Time: c.at, Value: s.value,
			})
		}
	}
	switch {
	case m.ofConfig != nil:
		add(m.ofConfig(&c.state))
		return points
	case m.ofProxy != nil:
		add(m.ofProxy(&c.snapshot))
		return points
	}
	for i := range c.snapshot.Clusters {
		cluster := &c.snapshot.Clusters[i]
		name := attribute.String(labelCluster, cluster.Name)
		if m.ofCluster != nil {
			add(m.ofCluster(cluster), name)
			continue
		}
		for j := range cluster.Listeners {
			l := &cluster.Listeners[j]
			add(m.ofListener(l), name, attribute.String(labelListener, l.Name))
		}
	}
	return points
}

func (c *collection) histograms(m *family) []metricdata.HistogramDataPoint[float64] {
	var points []metricdata.HistogramDataPoint[float64]
	for i := range c.snapshot.Clusters {
		cluster := &c.snapshot.Clusters[i]
		for j := range cluster.Listeners {
			l := &cluster.Listeners[j]
			for _, d := range m.durations(l) {
				points = append(points, c.histogram(d, cluster.Name, l.Name))
			}
		}
	}
	return points
}

func (c *collection) histogram(d proxy.DurationStats, cluster, listener string) metricdata.HistogramDataPoint[float64] {
	point := metricdata.HistogramDataPoint[float64]{
		Attributes: attribute.NewSet(attribute.String(labelCluster, cluster), attribute.String(labelListener, listener), api(d.Key)),
		StartTime:  c.started, Time: c.at, Bounds: c.bounds, Sum: d.Sum.Seconds(),
	}
	for _, n := range d.Buckets {
		point.BucketCounts = append(point.BucketCounts, uint64(n))
		point.Count += uint64(n)
	}
	return point
}
