package cluster

import (
	"crypto/rand"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/upstream"
)

// probePrefix begins the client.id of kproxy's own requests and logins.
const probePrefix = "kproxy-probe/"

// probes finds bootstrap addresses that lead back to this proxy, directly or through a
// replica of it. Behind a load balancer, the addresses alone do not show that. So each
// request and each login of kproxy's own has a client.id that no client can guess. If a
// session of the same cluster sends an id while its request is in flight, the session is
// that request, and the address that the request was sent to leads back here:
//
//	request, id 7 ──▶ address ──▶ balancer ──▶ a listener of this cluster: id 7
//
// Only the session that sends an id is refused. A broker that misuses an id it has received
// can only mark its own address as a loop.
//
// An id of another kproxy passes, because one kproxy may be the broker of another. The same
// id in two sessions at once has gone round a circle of kproxies.
type probes struct {
	mu      sync.Mutex        // guards the following
	flying  map[string]*probe // by id
	foreign map[string]any    // live sessions of other kproxies' ids, by id
	loops   map[string]time.Time
}

// probe is one request or login in flight.
type probe struct {
	id       string
	address  string // it was sent there
	returned atomic.Bool
}

// loopLife is how long an address that leads back here is not dialled for clients. kproxy's
// own requests are still sent there, every 10 s until the cluster has responded: one that
// comes back starts the time again, and any other response ends it.
const loopLife = 3 * askInterval

// begin returns a probe for a request to address. The caller ends it.
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

// end takes the request's error. It returns the probe's: a *upstream.LoopError if the probe
// came back, else err.
func (p *probes) end(one *probe, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flying, one.id)
	if one.returned.Load() {
		if p.loops == nil {
			p.loops = map[string]time.Time{}
		}
		maps.DeleteFunc(p.loops, func(_ string, until time.Time) bool { return time.Now().After(until) })
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
// session is a request of kproxy's own that came back. Sessions are compared by ==.
func (c *Cluster) ProbeArrived(session any, clientID string) bool {
	return c.probes.arrived(session, clientID)
}

// ProbeLeft forgets a session that has ended.
func (c *Cluster) ProbeLeft(session any, clientID string) { c.probes.left(session, clientID) }

// arrived takes the client.id of a session of this cluster. It reports whether the session
// is a probe that came back.
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
