package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kproxy/internal/endpoints"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
)

// A response to a client does not move a known node by itself: brokers answer some clients
// differently than others, and a broker that has not caught up returns old addresses. If a
// response differs from the map, kproxy sends Metadata to the same broker, on a connection
// of its own. Its response moves nodes:
//
//	client's Metadata differs ──▶ Metadata to that broker ──▶ nodes move at once
//	                                  │ the broker requires a login that only clients have
//	                                  ▼
//	              endpoints.Told: the rules for responses to clients alone
//
// Before a login no other request confirms a node: Kafka 4.4 answers ApiVersions v5 without
// checking the node id in it (KIP-1242), so any broker would confirm any node.
//
// A session belongs to a node at an address. When that address changes, the session ends
// between two requests (broker_moved), and its client connects again.

const (
	// movePause is the minimum time between two requests that differing responses cause.
	movePause = time.Second
	// settleTimeout is how long a session waits for a mover's request before it dials a node
	// whose address is disputed.
	settleTimeout = time.Second
	// loginPause is how long kproxy does not ask a cluster again that requires a login.
	loginPause = 10 * time.Minute
)

// mover checks responses that differ from the map, with one request of kproxy's own at a time.
type mover struct {
	mu      sync.Mutex    // guards the following
	next    *sighting     // the next one to check; nil: none
	asking  *sighting     // the one that the request in flight checks
	running bool          // ascertain runs
	settled chan struct{} // closed at the end of each check; nil: none is due
	last    time.Time     // end of the last check
	login   time.Time     // until this time the cluster is assumed to require a login
}

// sighting is a response that differs from the map.
type sighting struct {
	from     upstream.Target // the broker that sent it
	response endpoints.Response
	metadata bool // it is a Metadata response
}

// trust returns how far kproxy trusts a client's Metadata response now.
func (m *mover) trust() endpoints.Trust {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.login) {
		return endpoints.Told
	}
	return endpoints.Heard
}

// WantsLogin reports whether the cluster requires a login that only clients have.
func (c *Cluster) WantsLogin() bool { return c.mover.trust() == endpoints.Told }

// doubts reports whether a check of the node's address runs or is due.
func (m *mover) doubts(b endpoints.Broker) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running && (m.next.contradicts(b) || m.asking.contradicts(b))
}

// contradicts reports whether the response has the node at another address, or another node
// at its address.
func (s *sighting) contradicts(b endpoints.Broker) bool {
	return s != nil && slices.ContainsFunc(s.response.Brokers, func(named endpoints.Broker) bool {
		return (named.Node == b.Node) != named.IsAt(b)
	})
}

// needsLogin notes whether the cluster requires a login before it answers Metadata.
func (m *mover) needsLogin(needs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.login = (time.Time{}); needs {
		m.login = time.Now().Add(loginPause)
	}
}

// sight schedules the check of a response. A newer response replaces one that waits, but only
// Metadata replaces Metadata.
func (c *Cluster) sight(seen sighting) {
	m := &c.mover
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil || seen.metadata || !m.next.metadata {
		m.next = &seen
	}
	if m.running {
		return
	}
	if c.Background(c.ascertain) {
		m.running, m.settled = true, make(chan struct{})
	}
}

// Settle waits while checks run and doubtful returns true, at most for settleTimeout.
func (c *Cluster) Settle(ctx context.Context, doubtful func() bool) {
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	for {
		c.mover.mu.Lock()
		settled := c.mover.settled
		c.mover.mu.Unlock()
		if settled == nil || !doubtful() {
			return
		}
		select {
		case <-settled:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ascertain checks one response after another until none is left.
func (c *Cluster) ascertain(ctx context.Context) {
	m := &c.mover
	for {
		m.mu.Lock()
		if m.next == nil || ctx.Err() != nil {
			close(m.settled)
			m.running, m.settled = false, nil
			m.mu.Unlock()
			return
		}
		pause := time.Until(m.last.Add(movePause))
		m.mu.Unlock()
		if pause > 0 {
			wait.Sleep(ctx, pause)
		}
		m.mu.Lock()
		m.asking, m.next = m.next, nil
		seen := m.asking
		m.mu.Unlock()
		c.askAbout(ctx, seen)
		m.mu.Lock()
		m.last, m.asking = time.Now(), nil
		close(m.settled)
		m.settled = make(chan struct{})
		m.mu.Unlock()
	}
}

// askAbout checks a response that differs from the map.
func (c *Cluster) askAbout(ctx context.Context, seen *sighting) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if c.mover.trust() == endpoints.Heard {
		err := c.askBroker(ctx, seen.from)
		if errors.Is(err, errOutvoted) {
			c.askOthers(ctx, seen.from)
			return
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		c.log.Debug("a response differs from the map, and the broker that sent it cannot be asked",
			slog.Any(logkey.Error, err))
		if !isStranger(err) && c.isOther(seen.response.ClusterID) {
			c.polled() // it finds out whether the new cluster wants a login
		}
	}
	if seen.metadata && !c.isOther(seen.response.ClusterID) {
		seen.response.Heard = true
		c.teach(seen.response, endpoints.Told)
	}
}

// maxOthers is how many other brokers are asked if a response contradicts earlier ones of
// other brokers.
const maxOthers = 3

// askOthers asks other brokers than from. The map follows the majority.
func (c *Cluster) askOthers(ctx context.Context, from upstream.Target) {
	asked := 0
	for _, b := range c.Nodes() {
		target := targetOf(b)
		if b.Host == "" || target == from || asked == maxOthers {
			continue
		}
		asked++
		if err := c.askBroker(ctx, target); err != nil && !errors.Is(err, errOutvoted) {
			c.log.Debug("a broker cannot be asked for the others' addresses", slog.Any(logkey.Error, err))
		}
	}
}

// differs reports whether a response contradicts the map.
func (c *Cluster) differs(a endpoints.Response) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.Differs(a)
}

// askBroker asks one broker for all brokers, and merges its response into the map.
func (c *Cluster) askBroker(ctx context.Context, target upstream.Target) error {
	n, err := c.metadataOf(ctx, target)
	if err != nil {
		return err
	}
	return c.follow(ctx, target, n)
}
