package cluster

import (
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/upstream"
)

// probePrefix begins the client.id of kproxy's own questions and logins.
const probePrefix = "kproxy-probe/"

// probes finds bootstrap addresses that lead back to this proxy, or to a replica
// of it that leads back here. Addresses do not tell behind a load balancer. So
// each question and each login of the proxy's own has a client.id of its own,
// which no client can guess. A client of the same cluster that sends the id while
// the question is under way is the question itself, and the address that it was
// sent to leads back here:
//
//	question, id 7 ──▶ address ──▶ balancer ──▶ a listener of this cluster: id 7
//
// The session that brings an id is refused. No other session is: who sees an id,
// such as a broker, can condemn only the address that the id was sent to, which is
// its own.
//
// An id of another kproxy passes, because one kproxy may be the broker of another.
// The same id in two sessions at once has come round a circle of kproxies.
type probes struct {
	mu      sync.Mutex        // guards the following
	flying  map[string]*probe // by id
	foreign map[string]any    // live sessions of other kproxies' ids, by id
	loops   map[string]time.Time
}

// probe is one question or login under way.
type probe struct {
	id       string
	address  string // where it was sent
	returned atomic.Bool
}

// loopLife is how long an address that leads back here is not dialled for clients.
// Questions, 10 s apart until the cluster has answered, still are sent there: one
// that returns makes it last, any other response ends it.
const loopLife = 3 * askInterval

// begin returns a probe that is sent to address. The caller ends it.
func (p *probes) begin(address string) *probe {
	one := &probe{id: probePrefix + rand.Text(), address: address}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying == nil {
		p.flying = map[string]*probe{}
	}
	p.flying[one.id] = one
	return one
}

// end takes the probe's outcome: err, or a *upstream.LoopError where the probe has
// come back.
func (p *probes) end(one *probe, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flying, one.id)
	if one.returned.Load() {
		if p.loops == nil {
			p.loops = map[string]time.Time{}
		}
		p.loops[one.address] = time.Now().Add(loopLife)
		return &upstream.LoopError{Address: one.address}
	}
	if err == nil {
		delete(p.loops, one.address)
	}
	return err
}

// loop returns an error if address is known to lead back here.
func (p *probes) loop(address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.loops[address]
	switch {
	case !ok:
		return nil
	case time.Now().After(until):
		delete(p.loops, address)
		return nil
	default:
		return &upstream.LoopError{Address: address}
	}
}

// ProbeArrived takes the client.id of a session of this cluster. It reports whether the
// session is a question of kproxy's own that has come back. Sessions are compared by ==.
func (c *Cluster) ProbeArrived(session any, clientID string) bool {
	return c.probes.arrived(session, clientID)
}

// ProbeLeft forgets a session that has ended.
func (c *Cluster) ProbeLeft(session any, clientID string) { c.probes.left(session, clientID) }

// arrived takes the client.id of a session of this cluster, and reports whether
// the session is a probe that has come round.
func (p *probes) arrived(session any, clientID string) bool {
	if !strings.HasPrefix(clientID, probePrefix) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if own := p.flying[clientID]; own != nil {
		own.returned.Store(true)
		return true
	}
	if p.foreign[clientID] != nil {
		return true
	}
	if p.foreign == nil {
		p.foreign = map[string]any{}
	}
	p.foreign[clientID] = session
	return false
}

// left forgets a session that has ended.
func (p *probes) left(session any, clientID string) {
	if !strings.HasPrefix(clientID, probePrefix) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.foreign[clientID] == session {
		delete(p.foreign, clientID)
	}
}
