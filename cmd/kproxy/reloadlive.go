package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"kproxy/internal/admin"
	"kproxy/internal/live"
	"kproxy/proxy/config"
)

// liveTimeout bounds the trial of a configuration before a reload. Other reloads wait
// meanwhile.
const liveTimeout = 90 * time.Second

// tryLive tries a configuration until stop. The error is [admin.ErrStopping] then, because the
// trial is not complete.
func (r *reloader) tryLive(ctx context.Context, n *nextConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-r.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	err := r.try(ctx, n)
	isStopped := ctx.Err() != nil
	cancel()
	watching.Wait()
	if isStopped {
		return admin.ErrStopping
	}
	return err
}

// tryLive tries the brokers by the next configuration, and the advertised addresses of the
// listeners that it does not change, as check --live does. The error joins a [*config.Error]
// for each fault.
func (n *nextConfig) tryLive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	conf := n.settings.Proxy
	conf.Listen = nil
	report, err := live.Check(ctx, &live.Options{Config: &conf, Skip: n.touches})
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range report.Findings {
		if f.Level != live.Fault {
			continue
		}
		faults = append(faults, &config.Error{Key: f.Key, Problem: f.Says, Fix: f.Fix})
	}
	return errors.Join(faults...)
}

// touches reports whether the section with this key is different in the next configuration.
func (n *nextConfig) touches(key string) bool {
	for _, c := range n.changes {
		if c.Key == key || strings.HasPrefix(c.Key, key+".") || strings.HasPrefix(key, c.Key+".") {
			return true
		}
	}
	return false
}
