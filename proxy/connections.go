package proxy

import (
	"time"
	"unique"

	"kproxy/internal/foreign"
	"kproxy/internal/mark"
)

// Connection is a client's connection at one moment.
type Connection struct {
	ID                uint64 // of this Proxy, and of no process that has handed over to it; higher ones are younger
	Cluster, Listener string
	Node              int32 // as in NodeCount
	State             ConnectionState
	Client            string // host:port, as PROXY protocol has it
	Opened            time.Time
	Idle              time.Duration // since the last byte that was written to either side
	Up, Down          Direction     // to the broker, and to the client
	InFlight          int           // requests without a response yet
	TLS               bool          // the listener's

	// The following are known from the state Open on.

	ClientID   string   // as it is logged
	Software   Software // zero: the client has not said it
	User       string   // who has logged in at kproxy; "": the client has not
	ServerName string   // that the client has asked for in TLS, as it is logged
	Broker     string   // the host:port that was dialled
	Splices    bool     // large frames are moved by the kernel, as far as it was tried; else all is copied
}

// ConnectionState is the stage of a connection.
type ConnectionState string

// The stages.
const (
	Arriving ConnectionState = "arriving" // its broker is not reached yet
	Open     ConnectionState = "open"
	Ending   ConnectionState = "ending" // responses in flight are delivered, then it closes
)

// Software is the name and version that a client gives itself in ApiVersions (KIP-511).
type Software struct{ Name, Version string }

// maxSoftware bounds each text of a Software, in characters.
const maxSoftware = 64

// attendance is an entry of the set of live sessions: the part of a session that its pumps do not
// need. It lies outside of the session, which has 1,024 bytes.
type attendance struct {
	id       uint64
	software unique.Handle[Software] // zero: the client has not said it
	limit    *time.Timer             // cuts the session; nil: Disconnect was not called
}

// noteSoftware keeps the texts that a client has sent about its software, for the first time.
func (p *Proxy) noteSoftware(s *session, name, version []byte) {
	software := unique.Make(Software{foreign.LineOf(string(name), maxSoftware), foreign.LineOf(string(version), maxSoftware)})
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.sessions[s]; ok && at.software == (unique.Handle[Software]{}) {
		at.software = software
		p.sessions[s] = at
	}
}

// attendee is a live session with the fields that Proxy.mu guards, at one moment.
type attendee struct {
	attendance

	session  *session
	listener *listener // nil: its client has not said yet which
}

// Connections returns the connections that are open, in no order. It holds the lock that accepting
// needs only while it lists them.
func (p *Proxy) Connections() []Connection {
	present := p.present()
	now := time.Now()
	all := make([]Connection, len(present))
	for i, a := range present {
		all[i] = a.connection(now)
	}
	return all
}

// Connection returns one of Connections.
func (p *Proxy) Connection(id uint64) (c Connection, ok bool) {
	a, ok := p.attendee(id)
	if !ok {
		return Connection{}, false
	}
	return a.connection(time.Now()), true
}

func (p *Proxy) attendee(id uint64) (a attendee, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, at := range p.sessions {
		if at.id == id {
			return attendeeOf(s, at), true
		}
	}
	return attendee{}, false
}

// attendeeOf returns a session of the set of live ones. The caller holds mu.
func attendeeOf(s *session, at attendance) attendee {
	a := attendee{attendance: at, session: s}
	if s.counted {
		a.listener = s.endpoint.listener
	}
	return a
}

func (p *Proxy) present() []attendee {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]attendee, 0, len(p.sessions))
	for s, at := range p.sessions {
		all = append(all, attendeeOf(s, at))
	}
	return all
}

// connection reads the fields of an open session that its arrival has written, once the lock of
// brokerSide has shown that the arrival is over.
func (a *attendee) connection(now time.Time) Connection {
	s := a.session
	c := Connection{
		ID:       a.id,
		Node:     s.node.Load(),
		State:    Arriving,
		Client:   s.client.address(),
		Opened:   s.opened,
		Idle:     max(0, mark.Mark(max(s.up.Active.Load(), s.down.Active.Load())).Age(now)),
		InFlight: s.queue.Owed(),
	}
	var up, down moved
	up.add(&s.up)
	down.add(&s.down)
	c.Up, c.Down = up.stats(), down.stats()
	if a.listener != nil {
		c.Cluster, c.Listener, c.TLS = a.listener.cluster.name, a.listener.name, a.listener.conf().tls != nil
	}
	if !s.broker.isOpen() {
		return c
	}
	c.State = Open
	if s.life.asks()&askEnd != 0 || s.life.finishing.Load() != nil || s.life.ended() != nil {
		c.State = Ending
	}
	c.ClientID, c.User, c.ServerName, c.Broker = s.client.id, s.client.user, s.client.serverName, s.broker.address()
	c.Splices = s.broker.plain && s.proxy.pipes != nil && !s.up.Copies() && !s.down.Copies()
	if a.software != (unique.Handle[Software]{}) {
		c.Software = a.software.Value()
	}
	return c
}

// address is the client's host:port. Any goroutine may ask for it.
func (c *clientSide) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.addrs.Addr.IsValid() {
		return c.conn.RemoteAddr().String()
	}
	return c.addrs.Addr.String()
}

// Disconnect has a connection end, once the responses to its requests in flight are delivered. It
// reports whether there is one with this id. Its reason is Disconnected. A connection that has not
// ended within the drain timeout is cut: its client may not read, or may have sent half a request.
func (p *Proxy) Disconnect(id uint64) bool {
	s := p.disconnecting(id)
	if s == nil {
		return false
	}
	s.leave(askDisconnect)
	return true
}

// disconnecting returns the session of a connection, and limits its time; nil: there is none.
func (p *Proxy) disconnecting(id uint64) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, at := range p.sessions {
		if at.id != id {
			continue
		}
		if at.limit == nil {
			at.limit = time.AfterFunc(p.conf().DrainTimeout, func() { p.cutIfLive(s) })
			p.sessions[s] = at
		}
		return s
	}
	return nil
}

// cutIfLive cuts a session that Disconnect has asked to end.
func (p *Proxy) cutIfLive(s *session) {
	p.mu.Lock()
	_, live := p.sessions[s]
	p.mu.Unlock()
	if live {
		s.cut(Disconnected)
	}
}
