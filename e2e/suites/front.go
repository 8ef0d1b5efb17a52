//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// counts are kproxy's own, of one run.
type counts struct {
	sessions int
	dials    map[string]int // attempts to reach a broker, by outcome
	ends     map[string]int // closed sessions, by reason
}

func (c counts) add(other counts) counts {
	sum := func(a, b map[string]int) map[string]int {
		all := maps.Clone(a)
		if all == nil {
			all = map[string]int{}
		}
		for key, n := range b {
			all[key] += n
		}
		return all
	}
	return counts{c.sessions + other.sessions, sum(c.dials, other.dials), sum(c.ends, other.ends)}
}

// failedDials are the attempts that reached no broker. A dial that ends because its
// client has left is none.
func (c counts) failedDials() (n int) {
	for outcome, count := range c.dials {
		if outcome != "ok" && outcome != "canceled" {
			n += count
		}
	}
	return n
}

// usual are the ends of sessions that clients and brokers bring about.
var usual = []string{"no_request", "client_closed", "client_reset", "broker_closed", "broker_reset", "relearn", "drained"}

// others are the ends of sessions that are not usual, such as unexpected_answer.
func (c counts) others() string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(c.ends)) {
		if n := c.ends[reason]; n > 0 && !slices.Contains(usual, reason) {
			list = append(list, fmt.Sprintf("%s %d", reason, n))
		}
	}
	return strings.Join(list, ", ")
}

// front is kproxy before the brokers of one run.
type front struct {
	site  *site
	admin string
	proc  *lab.Process
}

// startFront runs kproxy with this configuration of clusters, and waits until it has
// brokers.
func (s *site) startFront(ctx context.Context, at seat, dir, clusters string) (*front, error) {
	f := &front{site: s, admin: lab.HostPort(at.front(), 9400)}
	var err error
	f.proc, err = lab.StartKproxy(ctx, s.kproxy, dir, s.net, fmt.Sprintf(
		"clusters:\n%slimits: {max_connections: 4000}\nadmin: {bind: %q}\nlog: {level: info, format: json}\n", clusters, f.admin))
	if err != nil {
		return nil, err
	}
	return f, lab.Poll(ctx, 30*time.Second, func() error {
		if err := f.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := s.net.Get(ctx, f.admin, "/readyz")
		return err
	})
}

// stop reads the counts and ends kproxy.
func (f *front) stop(ctx context.Context) (c counts, err error) {
	if f.proc.Alive() == nil {
		var metrics string
		if metrics, err = f.site.net.Get(ctx, f.admin, "/metrics"); err == nil {
			c, err = readCounts(metrics)
		}
	} else {
		err = f.proc.Alive()
	}
	f.proc.Kill()
	return c, err
}

func readCounts(metrics string) (counts, error) {
	c := counts{}
	opened, err := lab.Counts(metrics, "kproxy_sessions_opened_total", "cluster", nil)
	if err != nil {
		return c, err
	}
	for _, n := range opened {
		c.sessions += n
	}
	if c.dials, err = lab.Counts(metrics, "kproxy_dials_total", "outcome", nil); err != nil {
		return c, err
	}
	c.ends, err = lab.Counts(metrics, "kproxy_sessions_closed_total", "reason", nil)
	return c, err
}
