package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kproxy/internal/tlsconf"
	"kproxy/proxy/config"
)

// watched are the files of a key of the configuration, which are read again when they change.
type watched struct {
	tlsconf.Watched
	key string
}

// watchFiles looks at the files of all TLS and all users again and again, until the proxy stops or the
// configuration changes.
func (p *Proxy) watchFiles() {
	if p.unwatch != nil {
		p.unwatch()
	}
	var ctx context.Context
	ctx, p.unwatch = context.WithCancel(p.lifetime())
	interval := p.conf().WatchInterval
	var all []tlsconf.Watched
	for _, c := range p.clusters() {
		for _, files := range c.files() {
			all = append(all, files)
		}
	}
	if len(all) > 0 && interval >= 0 {
		p.sweeping.Go(func() { tlsconf.Watch(ctx, interval, all...) })
	}
}

// ReadFiles reads the certificates, keys and CAs of all TLS and the files of users now, and uses them for new
// connections if they are good. The log says so, or why not. It does not depend on
// Config.WatchInterval.
func (p *Proxy) ReadFiles() {
	for _, c := range p.clusters() {
		for _, files := range c.files() {
			_ = files.Reload() // the log has the error
		}
	}
}

// files are those of the cluster's TLS, and of its listeners' TLS and users.
func (c *servedCluster) files() []watched {
	var all []watched
	if files := c.Way().TLS(); files != nil {
		all = append(all, watched{files, "clusters." + c.name + ".tls"})
	}
	for _, l := range c.listeners() {
		conf := l.conf()
		if conf.tls != nil {
			all = append(all, watched{conf.tls, l.key + ".tls"})
		}
		if conf.users != nil {
			all = append(all, watched{conf.users, l.key + ".login.users_file"})
		}
	}
	return all
}

// stale returns the keys whose files have changed and are not used.
func (c *servedCluster) stale() []string {
	var all []string
	for _, files := range c.files() {
		if files.Refused() != nil {
			all = append(all, files.key)
		}
	}
	return all
}

// TLSStats are the files of a section's TLS.
type TLSStats struct {
	Certificates []CertificateStats
	// Stale says that the files as they are now are not used, because they are no
	// good; those from before are.
	Stale bool
}

// CertificateStats is one certificate of the proxy's own, or the last one of a file of CAs.
type CertificateStats struct {
	File    string
	Expires time.Time
}

func tlsStats(status tlsconf.Status) *TLSStats {
	stats := &TLSStats{Stale: status.Refused != nil}
	for _, c := range status.Certificates {
		stats.Certificates = append(stats.Certificates, CertificateStats{c.File, c.NotAfter})
	}
	return stats
}

// UncoveredNames finds the advertised names that no certificate of their listener is for. Each
// error is a [*config.Error].
func (p *Proxy) UncoveredNames() []error {
	var errs []error
	for l := range p.listeners() {
		if l.conf().tls == nil {
			continue
		}
		if missing := l.conf().tls.Uncovered(l.hosts()); len(missing) > 0 {
			errs = append(errs, l.uncovered(missing))
		}
	}
	return errs
}

// hosts returns the hosts in the listener's advertised addresses.
func (l *listener) hosts() []string {
	host, _ := l.conf().AdvertisedBootstrap()
	hosts := []string{host}
	for slot := range l.conf().Slots() {
		host, _ := l.conf().Advertised(slot)
		hosts = append(hosts, host)
	}
	if l.conf().Nodes.SNI != "" {
		hosts = append(hosts, l.sampleNode())
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// lowIDs is how many broker ids, from 0 on, sampleNode tries.
const lowIDs = 256

// sampleNode returns the name of one node in place of all: of the lowest id that a certificate
// covers, or else of id 0. A certificate may name nodes one by one. Before the brokers are
// known, no check can find whether some are missing in it.
func (l *listener) sampleNode() string {
	for id := range int32(lowIDs) {
		if name := l.conf().Names.Of(id); len(l.conf().tls.Uncovered([]string{name})) == 0 {
			return name
		}
	}
	return l.conf().Names.Of(0)
}

func (l *listener) uncovered(missing []string) *config.Error {
	const most = 5
	names := strings.Join(missing[:min(len(missing), most)], ", ")
	if more := len(missing) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return &config.Error{
		Key:     l.key + ".tls.certs",
		Problem: "no certificate is for " + names + ", as advertised",
		Fix:     "have one issued with these among its names (subjectAltName), or advertise a name that it has",
	}
}
