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

// A response to a client teaches nothing about nodes that are known: brokers answer
// some clients differently than others, and one that has not caught up gives old
// addresses. So kproxy asks, on a connection of its own to the broker that gave a
// response which differs from the map, and believes what it is told:
//
//	client's Metadata differs ──▶ question to that broker ──▶ nodes move at once
//	                                  │ the broker wants a login that only clients have
//	                                  ▼
//	              endpoints.Told: what such responses are believed by themselves
//
// Nothing else tells before a login: Kafka 4.4 answers ApiVersions v5 there without a
// look at the node's id in it (KIP-1242), so any broker would confirm any node.
//
// A session belongs to a node at an address. When the address that is dialled for
// its node changes, it ends between two requests (broker_moved), and its client
// connects again.

const (
	// movePause is the least time between two questions that differing responses
	// cause.
	movePause = time.Second
	// settleTimeout is how long a session waits, before it dials a node whose
	// address is disputed, for the question about it.
	settleTimeout = time.Second
	// loginPause is how long a cluster that wants a login is not asked again.
	loginPause = 10 * time.Minute
)

// mover asks one question at a time about responses that differ from the map.
type mover struct {
	mu      sync.Mutex    // guards the following
	next    *sighting     // to be asked about; nil: nothing is
	asking  *sighting     // what the question under way is about
	running bool          // a goroutine asks, or waits until it may
	settled chan struct{} // closed at the end of each question; nil: none is to come
	last    time.Time     // when the last question ended
	login   time.Time     // until when the cluster is taken to want a login
}

// sighting is a response that differs from the map.
type sighting struct {
	from     upstream.Target // the broker that gave it
	answer   endpoints.Answer
	metadata bool // it is a Metadata response
}

// trust says how far a client's Metadata response is believed now.
func (m *mover) trust() endpoints.Trust {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.login) {
		return endpoints.Told
	}
	return endpoints.Heard
}

// WantsLogin reports whether the cluster wants a login that only clients have.
func (c *Cluster) WantsLogin() bool { return c.mover.trust() == endpoints.Told }

// doubts reports whether a question is under way, or waits, about where a node is.
func (m *mover) doubts(b endpoints.Broker) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running && (m.next.contradicts(b) || m.asking.contradicts(b))
}

// contradicts reports whether the response has the node elsewhere, or another node
// where it is.
func (s *sighting) contradicts(b endpoints.Broker) bool {
	return s != nil && slices.ContainsFunc(s.answer.Brokers, func(named endpoints.Broker) bool {
		return (named.Node == b.Node) != named.IsAt(b)
	})
}

// needsLogin notes whether the cluster answered a question of kproxy's own.
func (m *mover) needsLogin(needs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.login = (time.Time{}); needs {
		m.login = time.Now().Add(loginPause)
	}
}

// sight has the cluster asked about a response. A newer one takes the place of one
// that waits, but a hint that of no Metadata.
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

// Settle waits while questions go on and doubtful is true, but not for long.
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

// ascertain asks about one response after another until none is left.
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

// askAbout finds out what is true of a response that differs from the map.
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
		c.log.Debug("a response differs from what is known, and the broker that gave it cannot be asked",
			slog.Any(logkey.Error, err))
	}
	if seen.metadata {
		seen.answer.Heard = true
		c.teach(seen.answer, endpoints.Told)
	}
}

// maxOthers is how many brokers are asked where one has answered otherwise than
// others before.
const maxOthers = 3

// askOthers asks other brokers than from. The most that agree are believed.
func (c *Cluster) askOthers(ctx context.Context, from upstream.Target) {
	asked := 0
	for _, b := range c.Nodes() {
		target := targetOf(b)
		if b.Host == "" || target == from || asked == maxOthers {
			continue
		}
		asked++
		if err := c.askBroker(ctx, target); err != nil && !errors.Is(err, errOutvoted) {
			c.log.Debug("a broker cannot be asked where the others are", slog.Any(logkey.Error, err))
		}
	}
}

// differs reports whether the map has it otherwise than a response.
func (c *Cluster) differs(a endpoints.Answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers.Differs(a)
}

// askBroker asks one broker who the brokers are, and learns it.
func (c *Cluster) askBroker(ctx context.Context, target upstream.Target) error {
	to, err := c.dialTarget(ctx, target, Client{})
	if err != nil {
		return err
	}
	defer func() { _ = to.Conn.Close() }()
	defer wait.Bound(ctx, to.Conn)()
	_, err = c.askMetadata(to)
	return err
}
