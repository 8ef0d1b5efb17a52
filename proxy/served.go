package proxy

import (
	"log/slog"
	"slices"

	"kproxy/internal/cluster"
	"kproxy/internal/errlist"
	"kproxy/internal/logkey"
	"kproxy/internal/logline"
	"kproxy/proxy/config"
	"kproxy/rewrite"
)

// servedCluster is a cluster and the listeners that lead to it.
type servedCluster struct {
	*cluster.Cluster

	conf *config.ClusterPlan
	log  *slog.Logger

	proxy       *Proxy
	listeners   []*listener
	answerLines logline.Pacer // of what responses lost
}

// newServedCluster reads the files that a cluster and its listeners name. Its error joins
// all mistakes. After an error the cluster is not complete: the caller can only close it.
func newServedCluster(p *Proxy, conf *config.ClusterPlan) (*servedCluster, error) {
	c := &servedCluster{proxy: p, conf: conf, log: p.log.With(slog.String(logkey.Cluster, conf.Name))}
	var errs []error
	var err error
	c.Cluster, err = cluster.New(conf, c.log, cluster.Options{
		Own:        p.isOwn,
		Dial:       p.conf.Dial,
		Dialed:     func(node int32, address string, err error) { p.conf.Observer.dialed(conf.Name, node, address, err) },
		Background: p.background,
		Strayed:    c.drainStrays,
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
	s := c.Status()
	return ClusterHealth{
		Name:       c.conf.Name,
		Up:         s.Up,
		LastAnswer: s.LastAnswer,
		LastError:  s.LastError,
		LastFailed: s.LastFailed,
		Brokers:    s.Brokers,
		Overflowed: s.Overflowed,
		Hidden:     c.hidden(),
	}
}

// stats returns the cluster's part of a Snapshot, without its listeners.
func (c *servedCluster) stats() ClusterStats {
	s := c.Status()
	return ClusterStats{
		Name:       c.conf.Name,
		Up:         s.Up,
		LastAnswer: s.LastAnswer,
		Brokers:    s.Brokers,
		Dials:      c.DialCounts(),
		MapChanges: c.ChangeCounts(),
	}
}

// hidden names the parsed APIs that were left out of an ApiVersions response.
func (c *servedCluster) hidden() []string {
	var names []string
	for _, api := range rewrite.Supported() {
		if slices.ContainsFunc(c.listeners, func(l *listener) bool { return l.counters.hides(api.Key) }) {
			names = append(names, api.Name)
		}
	}
	return names
}
