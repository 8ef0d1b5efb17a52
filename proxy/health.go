package proxy

import (
	"context"
	"time"

	"kproxy/internal/cluster"
)

// Health is what decides whether a Proxy is ready for clients.
type Health struct {
	Bound    bool            // every endpoint of every listener listens
	Stopping bool            // MarkNotReady or Shutdown was called
	Clusters []ClusterHealth // in the order of the configuration
}

// ClusterHealth is the state of a cluster, from the proxy's own requests, from the first
// responses in sessions, and from their dials. The proxy asks a cluster by itself while
// that is not Up, and when Probe is called.
type ClusterHealth struct {
	Name       string
	Up         bool               // it has answered, and no attempt to reach it has failed since
	LastAnswer time.Time          // zero: it has not answered since the start
	LastError  error              // of the last attempt that failed; nil: none has
	LastFailed time.Time          // when that was
	Brokers    int                // nodes known
	Overflowed []cluster.Overflow // nodes outside the range, in free slots
	Unmapped   []cluster.Overflow // nodes without a slot: the range is full, and clients do not get them
	// Strangers are the addresses at which brokers of another cluster have responded within the last ten minutes.
	Strangers []cluster.StrangerError
	// Stale are the keys of the configuration whose files have changed and cannot be used: certificates, keys, CAs
	// or users. Those from before are used, and the log has the reason.
	Stale []string
	// Hidden names the APIs that were removed from a response of the cluster since the start,
	// by ascending key: its brokers no longer have any version that this build understands.
	Hidden []string
}

// Health returns the state that is known. It asks no broker.
func (p *Proxy) Health() Health {
	h := Health{Bound: p.bound.Load(), Stopping: p.retired.Load()}
	for _, c := range p.clusters() {
		h.Clusters = append(h.Clusters, c.clusterHealth())
	}
	return h
}

// MarkNotReady makes Health say that the proxy is about to stop, so that a load balancer
// in front of several proxies sends clients elsewhere. Clients that come are
// served, until Shutdown.
func (p *Proxy) MarkNotReady() { p.retired.Store(true) }

// Probe checks that a cluster responds, with one ApiVersions request on a
// connection of its own, unless it has been asked less than 10 seconds ago. It
// returns when the response is part of Health, or when ctx ends.
func (p *Proxy) Probe(ctx context.Context, cluster string) {
	c := p.cluster(cluster)
	if c == nil {
		return
	}
	select {
	case <-p.probe(c):
	case <-ctx.Done():
	}
}

// probe asks c in a goroutine of the Proxy's own, for as long as that takes: a
// prober in a hurry must not make the question fail. done is closed when Health
// has the outcome.
func (p *Proxy) probe(c *servedCluster) (done chan struct{}) {
	done = make(chan struct{})
	if !c.background(func(ctx context.Context) {
		defer close(done)
		_ = c.Ask(ctx) // Health has the error
	}) {
		close(done)
	}
	return done
}
