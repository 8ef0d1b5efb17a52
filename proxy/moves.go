package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/endpoints"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
)

// A response to a client teaches nothing about nodes that are known: brokers answer
// some clients differently than others, and one that has not caught up gives old
// addresses. So kproxy asks, on a connection of its own to the broker that gave a
// response which differs from the map, and believes what it is told:
//
//	client's Metadata differs ──▶ question to that broker ──▶ nodes move at once
//	                                  │ the broker wants a login that only clients have
//	                                  ▼
//	              ApiVersions v5 with cluster id and node id (KIP-1242) to the new address
//	                                  │ the broker does not know it
//	                                  ▼
//	              endpoints.Told: what such responses are believed by themselves
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
	// maxVerified bounds the nodes that are asked who they are at one time.
	maxVerified = 16
)

// mover asks one question at a time about responses that differ from the map.
type mover struct {
	mu      sync.Mutex    // guards the following
	next    *sighting     // to be asked about; nil: nothing is
	running bool          // a goroutine asks, or waits until it may
	settled chan struct{} // closed when that is over
	last    time.Time     // when the last question ended
	login   time.Time     // until when the cluster is taken to want a login
}

// sighting is a response that differs from the map.
type sighting struct {
	from   upstream.Target // the broker that gave it
	answer endpoints.Answer
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

// wantsLogin reports whether the cluster wants a login that only clients have.
func (m *mover) wantsLogin() bool { return m.trust() == endpoints.Told }

// needsLogin notes whether the cluster answered a question of kproxy's own.
func (m *mover) needsLogin(needs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.login = (time.Time{}); needs {
		m.login = time.Now().Add(loginPause)
	}
}

// sight has the cluster asked about a response. A newer one takes the place of one
// that waits.
func (c *cluster) sight(seen sighting) {
	m := &c.mover
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = &seen
	if m.running {
		return
	}
	settled := make(chan struct{})
	if c.proxy.background(func(ctx context.Context) {
		defer close(settled)
		c.ascertain(ctx)
	}) {
		m.running, m.settled = true, settled
	}
}

// settle waits for the question under way, if there is one, but not for long.
func (c *cluster) settle(ctx context.Context) {
	c.mover.mu.Lock()
	settled := c.mover.settled
	c.mover.mu.Unlock()
	if settled == nil {
		return
	}
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ascertain asks about one response after another until none is left.
func (c *cluster) ascertain(ctx context.Context) {
	m := &c.mover
	for {
		m.mu.Lock()
		pause := time.Until(m.last.Add(movePause))
		m.mu.Unlock()
		if pause > 0 {
			sleep(ctx, pause)
		}
		m.mu.Lock()
		seen := m.next
		m.next = nil
		if m.running = seen != nil && ctx.Err() == nil; !m.running {
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		c.askAbout(ctx, seen)
		m.mu.Lock()
		m.last = time.Now()
		m.mu.Unlock()
	}
}

// askAbout finds out what is true of a response that differs from the map.
func (c *cluster) askAbout(ctx context.Context, seen *sighting) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if c.mover.trust() == endpoints.Heard {
		err := c.askBroker(ctx, seen.from)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.log.Debug("a response differs from what is known, and the broker that gave it cannot be asked",
			slog.Any(logkey.Error, err))
		seen.answer.Heard = true
		c.teach(seen.answer, endpoints.Told)
	}
	c.verify(ctx)
}

// askBroker asks one broker who the brokers are, and learns it.
func (c *cluster) askBroker(ctx context.Context, target upstream.Target) error {
	to, err := c.dialTarget(ctx, target, party{})
	if err != nil {
		return err
	}
	defer func() { _ = to.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = to.conn.SetDeadline(past) })()
	_, err = c.askMetadata(to)
	return err
}

// verify asks the nodes that the last response had elsewhere, there, who they are.
func (c *cluster) verify(ctx context.Context) {
	c.mu.Lock()
	clusterID, disputed := c.brokers.ClusterID(), c.brokers.Disputed()
	c.mu.Unlock()
	if clusterID == "" {
		return
	}
	var asking sync.WaitGroup
	for _, b := range disputed[:min(len(disputed), maxVerified)] {
		asking.Go(func() {
			switch err := c.greets(ctx, b, clusterID); {
			case err == nil:
				c.mu.Lock()
				changes := c.brokers.Confirm(b, time.Now())
				c.mu.Unlock()
				c.note(changes)
			case errors.Is(err, kerr.RebootstrapRequired):
				c.mu.Lock()
				c.brokers.Deny(b)
				c.mu.Unlock()
			}
		})
	}
	asking.Wait()
}

// greets sends ApiVersions v5 to a broker with the cluster's id and the node's,
// and returns nil if the broker says that it is that node, or
// kerr.RebootstrapRequired if it is not (KIP-1242, Kafka 4.4).
func (c *cluster) greets(ctx context.Context, b endpoints.Broker, clusterID string) error {
	to, err := c.dialTarget(ctx, targetOf(b), party{})
	if err != nil {
		return err
	}
	defer func() { _ = to.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = to.conn.SetDeadline(past) })()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 5, "kproxy", "1"
	req.ClusterID, req.NodeID = &clusterID, b.Node
	return c.question(to, req, req.ResponseKind())
}

// route is where a session's requests go. It does not change.
type route struct {
	target  upstream.Target // the broker that was dialled
	address string          // where
	// any request may be sent: the endpoint is the bootstrap endpoint, or the
	// broker is the endpoint's own. Otherwise only what teaches who is where.
	any bool
}

// drainStrays has the sessions end whose node is not at the address any more at
// which they reached it, or has lost its endpoint to another node.
func (c *cluster) drainStrays() {
	for _, s := range c.proxy.live() {
		if s.strays(c) {
			s.leave(BrokerMoved)
		}
	}
}

// strays reports whether the session is one of c's, for a node, and reaches
// something else than its endpoint's node at that node's address.
func (s *session) strays(c *cluster) bool {
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	if to == nil || s.endpoint.slot == bootstrapSlot || s.endpoint.listener.cluster != c || !to.any {
		return false
	}
	b, ok := c.nodeAt(s.endpoint.listener.index, s.endpoint.slot)
	return !ok || b.Node != to.target.Node || b.Host == "" || c.dialer.Address(targetOf(b)) != to.address
}
