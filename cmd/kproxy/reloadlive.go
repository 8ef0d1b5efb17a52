package main

import (
	"context"
	"errors"
	"fmt"
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

// tryLive tries a configuration until stop, or for liveTimeout. A trial that is not complete is
// an error: [admin.ErrStopping], or that of a mistake.
func (r *reloader) tryLive(ctx context.Context, n *nextConfig) error {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-r.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	err := r.try(ctx, n)
	cause := ctx.Err()
	cancel()
	watching.Wait()
	switch {
	case errors.Is(cause, context.Canceled):
		return admin.ErrStopping
	case cause != nil:
		return errors.Join(err, &config.Error{
			Key: "clusters", Problem: fmt.Sprintf("the trial was not complete after %s", liveTimeout),
			Fix: "kproxy check --live tries the configuration without a limit, and a reload without live applies it",
		})
	default:
		return err
	}
}

// tryLive tries the brokers by the next configuration, and the advertised addresses of the
// listeners that it does not change, as check --live does. The error joins a [*config.Error]
// for each fault.
func (n *nextConfig) tryLive(ctx context.Context) error {
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
