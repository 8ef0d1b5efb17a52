package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"kproxy/proxy"
)

// look is how often a Session looks for brokers that it has not located.
const look = 2 * time.Second

// lookAgain is how often brokers are tried that could not be reached.
const lookAgain = 30 * time.Second

// Session is a running proxy and its maintenance. While Run runs, only functions that it
// calls may read Cluster and Ports; Bootstrap never changes.
type Session struct {
	Cluster *Cluster
	Ports   Ports

	options   *Options
	proxy     *proxy.Proxy // nil: stopped
	bootstrap string
	located   time.Time
}

// Start learns the cluster and starts the proxy. The caller must call Run then.
func Start(ctx context.Context, o *Options) (*Session, error) {
	c, err := o.Learn(ctx)
	if err != nil {
		return nil, err
	}
	s := &Session{Cluster: c, options: o, located: time.Now()}
	const tries = 10
	for try := 1; ; try++ {
		var keep bool
		if s.Ports, keep, err = o.ports(c); err != nil {
			return nil, err
		}
		err = s.serve(ctx)
		switch {
		case errors.Is(err, syscall.EADDRINUSE) && o.Port == 0 && try < tries:
			continue // another process was faster: they are not free any more
		case err != nil:
			return nil, err
		case keep:
			o.remember(c, s.Ports)
		}
		s.bootstrap = s.here(s.Ports.Base)
		return s, nil
	}
}

// serve starts a proxy for the known state of the cluster.
func (s *Session) serve(ctx context.Context) error {
	conf := s.options.config(s.Cluster.paired.at, s.Ports)
	conf.Clusters[0].Brokers = s.Cluster.admitted()
	p, err := proxy.New(conf)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	s.proxy = p
	return nil
}

// stop ends the proxy, after the responses in flight.
func (s *Session) stop() {
	if s.proxy != nil {
		s.proxy.Shutdown(context.Background())
		s.proxy = nil
	}
}

// Bootstrap is where clients bootstrap, host:port.
func (s *Session) Bootstrap() string { return s.bootstrap }

// Here is the address that is advertised for a node; "": it has no port.
func (s *Session) Here(node int32) string {
	if port, ok := s.Ports.Pins[node]; ok {
		return s.here(port)
	}
	return ""
}

func (s *Session) here(port int) string {
	return net.JoinHostPort(s.options.Advertise, strconv.Itoa(port))
}

// Run keeps the proxy right until ctx ends, and then stops it. changed is called when the
// brokers, or those that can be reached, change. If that takes other dial rules, the
// proxy has been restarted with them, on the same ports. Clients reconnect.
func (s *Session) Run(ctx context.Context, changed func()) error {
	defer s.stop()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.refresh(ctx, changed); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// refresh locates brokers that clients' responses have named since, and, now and then,
// those that could not be reached: a port-forward may be up by now.
func (s *Session) refresh(ctx context.Context, changed func()) error {
	id, now := s.proxy.Brokers(clusterName)
	news := len(now) > 0 && !slices.Equal(nodesOf(now), nodesOf(s.Cluster.Brokers))
	if !news {
		if len(s.Cluster.errs) == 0 || time.Since(s.located) < lookAgain {
			return nil
		}
		now = s.Cluster.Brokers
	}
	c := &Cluster{ID: cmp.Or(id, s.Cluster.ID), Brokers: now, NeedsLogin: s.Cluster.NeedsLogin, Mechanisms: s.Cluster.Mechanisms, answered: s.Cluster.answered}
	if err := s.options.locate(ctx, c); err != nil {
		return err
	}
	before, ports := s.Cluster, s.Ports.with(now)
	restarts := s.restartsFor(c, ports)
	s.Cluster, s.Ports, s.located = c, ports, time.Now()
	if restarts {
		s.stop()
		if err := s.serve(ctx); err != nil {
			return fmt.Errorf("start anew for %d brokers: %w", len(now), err)
		}
	}
	if news || len(before.errs) != len(c.errs) {
		changed()
	}
	return nil
}

// restartsFor reports whether the proxy has to be restarted for a state of the cluster and these
// ports. A restart gives no port to a node for which none is left.
func (s *Session) restartsFor(c *Cluster, ports Ports) bool {
	return !maps.Equal(s.Cluster.paired.at, c.paired.at) || !slices.Equal(s.Cluster.admitted(), c.admitted()) || !maps.Equal(s.Ports.Pins, ports.Pins)
}

func nodesOf(brokers []Broker) []int32 {
	var nodes []int32
	for _, b := range brokers {
		nodes = append(nodes, b.Node)
	}
	return nodes
}
