package simulate

import (
	"strconv"
	"time"

	"kproxy/internal/hostport"
	"kproxy/internal/wait"
	"kproxy/proxy"
)

// probeNumber is the number of the director's first client; scripts have lower ones.
const probeNumber = 1000

// settle has brokers respond and clients read, and checks that everything comes that has to.
// Then it checks that kproxy knows where the brokers are, that no session is left at an
// address that its node has left, and that new clients come in.
func (r *run) settle() {
	if r.drained != nil {
		return
	}
	r.brokers.goOn()
	r.allRead()
	if !r.eventually(r.delivered) {
		for _, rec := range r.records.list() {
			if text := rec.outstanding(); text != "" {
				r.fail("client %d %s", rec.number, text)
			}
		}
	}
	if r.Fails {
		return // the director's own clients can fail, too
	}
	if r.limit() > 0 {
		r.allLeave()
	}
	if !r.eventually(r.learned) {
		r.fail("kproxy does not know where the brokers are")
		return
	}
	if !r.eventually(func() bool { return r.strayed() == nil }) {
		if stray := r.strayed(); stray != nil {
			r.fail("the session of client %d is still at address %d of node %d", stray.client.number, stray.at, stray.client.node)
		}
	}
	r.set(func() { r.known = true })
	if !r.eventually(func() bool { return r.expired() == nil }) {
		if late := r.expired(); late != nil {
			r.fail("kproxy's login for client %d has expired, and kproxy has not logged in again", late.client.number)
		}
	}
	r.comeIn()
}

// delivered reports whether no client waits for anything.
func (r *run) delivered() bool {
	for _, rec := range r.records.list() {
		if rec.outstanding() != "" {
			return false
		}
	}
	return true
}

// outstanding names the events that a client waits for: responses, or the end of its connection; "": for
// nothing.
func (r *record) outstanding() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := len(r.sent)
	if r.inside {
		whole--
	}
	switch owed := whole - r.silent(whole) - r.received; {
	case r.end != "":
		return ""
	case owed > 0:
		return "has no response to " + strconv.Itoa(owed) + " requests, and its connection is open"
	case r.halfClosed:
		return "has ended its side and has all responses, and its connection is open"
	default:
		return ""
	}
}

// learned asks for metadata by a client of its own, and reports whether kproxy has every
// broker where it is.
func (r *run) learned() bool {
	c := r.probe("bob", proxy.NoNode, "metadata", "heartbeat")
	defer c.leave()
	if !r.soon(func() bool { return c.record.outstanding() == "" }) {
		return false
	}
	dialled := map[int32]string{}
	for _, row := range r.proxy.Table(r.ctx) {
		if row.Listener == "bob" {
			dialled[row.Node] = row.Dialled
		}
	}
	for _, at := range r.brokers.places() {
		if dialled[at.node] != hostport.Join(at.host, at.port) {
			return false
		}
	}
	return true
}

// soon waits for a part of the patience.
func (r *run) soon(holds func() bool) bool {
	const looks = 20
	for range looks {
		if holds() {
			return true
		}
		wait.Sleep(r.ctx, r.Patience/500)
	}
	return holds()
}

// probe connects a client of the director's own, which sends some requests.
func (r *run) probe(listener string, node int32, requests ...string) *client {
	r.probes++
	c := newClient(r, probeNumber+r.probes)
	args := []string{listener}
	if node >= 0 {
		args = append(args, strconv.Itoa(int(node)))
	}
	c.step(Step{Verb: "dials", Args: args})
	for _, name := range requests {
		c.step(Step{Verb: "sends", Args: []string{name}})
	}
	return c
}

// leave ends the client's side.
func (c *client) leave() { c.step(Step{Verb: "half-closes"}) }

// strayed returns a connection of a node's endpoint to an address that the node has left; nil:
// there is none.
func (r *run) strayed() *brokerConn {
	for _, c := range r.brokers.open() {
		if c.client.asksOnly() { // it may be any broker's, and ends at the first other request
			continue
		}
		r.brokers.mu.Lock()
		strays := c.client.node >= 0 && (c.client.node != c.node || c.at != c.address)
		r.brokers.mu.Unlock()
		if strays {
			return c
		}
	}
	return nil
}

// allLeave has all clients close, so that there is room for others.
func (r *run) allLeave() {
	for _, c := range r.clients {
		c.steps <- Step{Verb: "closes"}
	}
	if !r.eventually(func() bool { return r.active() == 0 }) {
		r.fail("%d sessions are active, and all clients have left", r.active())
	}
}

// expired returns a connection at which kproxy's login is no longer valid, and whose client is
// not inside a request; nil: there is none.
func (r *run) expired() *brokerConn {
	if r.script.Settings.Lifetime == 0 {
		return nil
	}
	for _, c := range r.brokers.open() {
		c.client.mu.Lock()
		inside := c.client.inside
		c.client.mu.Unlock()
		r.brokers.mu.Lock()
		late := c.expires.Before(time.Now())
		r.brokers.mu.Unlock()
		if late && !inside {
			return c
		}
	}
	return nil
}

// comeIn checks that a client of each node reaches it. Where connections are limited, as many
// come in as the limit says.
func (r *run) comeIn() {
	var all []*client
	if limit := r.limit(); limit > 0 {
		if !r.eventually(func() bool { return r.active() == 0 }) { // the director's own
			r.fail("%d sessions are active, and all clients have left", r.active())
		}
		for range limit {
			all = append(all, r.probe("bob", proxy.NoNode, "heartbeat"))
		}
	} else {
		for node := range int32(brokerCount) {
			all = append(all, r.probe("bob", node, "heartbeat", "metadata"))
		}
	}
	came := func() bool {
		for _, c := range all {
			if c.record.owed() > 0 {
				return false
			}
		}
		return true
	}
	if !r.eventually(came) {
		for _, c := range all {
			if c.record.owed() > 0 {
				r.fail("client %d, of node %d, came when there was room, and has no response", c.record.number, c.record.node)
			}
		}
	}
	for _, c := range all {
		if c.conn == nil {
			r.fail("client %d, of node %d, cannot connect", c.record.number, c.record.node)
		}
		c.leave()
	}
}

// limit is how many clients bob admits; 0: any number. The director's clients come from three
// addresses in turn.
func (r *run) limit() int {
	limit := r.conf.Limit
	if each := r.conf.Source; each > 0 && (limit == 0 || each < limit) {
		limit = each
	}
	return limit
}

// active is how many sessions bob has.
func (r *run) active() int64 {
	var n int64
	for _, c := range r.proxy.Stats().Clusters {
		for _, l := range c.Listeners {
			if l.Name != "bob" {
				continue
			}
			for _, count := range l.Active {
				n += count.Count
			}
		}
	}
	return n
}
