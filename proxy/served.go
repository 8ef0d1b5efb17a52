package proxy

import (
	"log/slog"
	"slices"

	"kproxy/internal/errlist"
	"kproxy/internal/logkey"
	"kproxy/internal/logline"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// servedCluster is a cluster and the listeners that lead to it.
type servedCluster struct {
	*cluster

	conf *config.ClusterPlan
	log  *slog.Logger

	proxy       *Proxy
	listeners   []*listener
	answerLines logline.Pacer // of what responses lost
}

// newServedCluster reads the files that a cluster and its listeners name. Its error joins
// all mistakes; the cluster is not whole then, and is good for closeVia only.
func newServedCluster(p *Proxy, conf *config.ClusterPlan) (*servedCluster, error) {
	c := &servedCluster{proxy: p, conf: conf, log: p.log.With(slog.String(logkey.Cluster, conf.Name))}
	var errs []error
	var err error
	c.cluster, err = newCluster(conf, c.log, clusterOptions{
		own:        p.isOwn,
		dial:       p.conf.Dial,
		dialed:     func(node int32, address string, err error) { p.conf.Observer.dialed(conf.Name, node, address, err) },
		background: p.background,
		strayed:    c.drainStrays,
	})
	errs = append(errs, err)
	for i, listener := range conf.Listeners {
		l, err := newListener(c, i, listener)
		errs = append(errs, err)
		c.listeners = append(c.listeners, l)
	}
	return c, errlist.Join(errs...)
}

// clusterHealth returns the cluster's part of Health.
func (c *servedCluster) clusterHealth() ClusterHealth {
	s := c.status()
	return ClusterHealth{
		Name:       c.conf.Name,
		Up:         s.up,
		LastAnswer: s.lastAnswer,
		LastError:  s.lastError,
		LastFailed: s.lastFailed,
		Brokers:    s.brokers,
		Overflowed: s.overflowed,
		Hidden:     c.hidden(),
	}
}

// stats returns the cluster's part of a Snapshot, its listeners excepted.
func (c *servedCluster) stats() ClusterStats {
	s := c.status()
	return ClusterStats{
		Name:       c.conf.Name,
		Up:         s.up,
		LastAnswer: s.lastAnswer,
		Brokers:    s.brokers,
		Dials:      c.dialCounts(),
		MapChanges: c.changeCounts(),
	}
}

// hidden names the parsed APIs that were left out of an ApiVersions answer.
func (c *servedCluster) hidden() []string {
	var names []string
	for _, api := range rewrite.Supported() {
		if slices.ContainsFunc(c.listeners, func(l *listener) bool { return l.counters.hides(api.Key) }) {
			names = append(names, api.Name)
		}
	}
	return names
}
