package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/cluster"
	"kproxy/internal/hostport"
	"kproxy/internal/inflight"
	"kproxy/internal/mark"
	"kproxy/internal/relay"
	"kproxy/internal/wait"
)

const (
	// owedSilence is how long a broker may be silent while responses are outstanding for a
	// client that has ended its side, or that has to come back. It bounds the resources of a
	// client that is gone: while the proxy does not read from it, nothing else shows that it
	// is gone.
	owedSilence = time.Minute
	// untakenLimit is how long such a client may take nothing of the responses. A broker closes
	// an idle connection after as long (connections.max.idle.ms).
	untakenLimit = 10 * time.Minute
	// brokerLinger is how long a broker has to end its side after the proxy
	// did, so that requests without a response (acks=0) are read before a reset.
	brokerLinger = 5 * time.Second
	// clientLinger is how long a client has to end its side after a broker
	// did, so that a reset does not overtake the last response.
	clientLinger = time.Second
)

// session is one client connection and the broker connection that belongs to it.
//
//	                                      parked
//	                                        │ ▲ silence between two frames
//	                                        ▼ │
//	accepted ──first header──▶ dialling ──▶ open ──▶ ending ──▶ closed
//	    │ no byte, no header,      │ no broker  │
//	    ▼ not Kafka                ▼            ▼ client ends, drain, relearn, max_age:
//	  closed                     closed         owed responses are delivered first
//	                                            broker ends: its bytes are delivered
//	                                            anything wrong: closed at once
//
// Two goroutines move it: the one that opened it (arrival), which becomes the request pump,
// and the response pump, which that one starts and waits for. Each notes why it has ended,
// and the first reason stands. A session that is parked has no goroutine (see parkedSet).
//
// The two pumps write up, down and queue for each frame. Each of the three has cache lines of its
// own, with fields that seldom change: so no pump writes a line that the other one uses, but for
// the queue's.
type session struct {
	proxy    *Proxy
	entry    *entry       // of the socket
	endpoint *endpoint    // the endpoint that the client chose; Proxy.mu guards its setting
	node     atomic.Int32 // whose endpoint the client chose, as NodeCount has it
	counted  bool         // as one of endpoint's listener's; guarded by Proxy.mu
	admitted bool         // by the gate of that listener, beside the entry's
	opened   time.Time

	up       relay.Stream // client to broker
	expires  mark.Mark    // max_age
	login    *clientLogin // the arrival's, then the request pump's; nil: the client has not begun one
	account  account      // of bytes held beyond a small buffer for each direction (see budget)
	reaching atomic.Pointer[reaching]
	token    uint64 // of the parked set, which guards it; 0: the session is not parked

	down  relay.Stream // broker to client
	queue inflight.Queue

	life   lifecycle
	client clientSide
	broker brokerSide
	watch  watch // the sweep's
}

// clientSide is the client of a session, and its connection. The arrival writes it; after that
// it does not change. Its texts stay as long as the session and are counted nowhere: each is
// bounded, and no part of a longer string, which would stay with it.
type clientSide struct {
	conn       net.Conn   // as it was accepted
	stream     net.Conn   // carries the client's bytes: conn, or TLS over it; for run and the pumps alone
	from       string     // the client's host:port
	source     netip.Addr // the address by which the gate counts the client
	tlvs       string     // the fields of the PROXY protocol header beyond the addresses
	serverName string     // the server name that the client asked for in TLS, as it is logged
	id         string     // client.id, as it is logged
	user       string     // who has logged in at the proxy; "": the client has not

	mu    sync.Mutex // guards the setting of the following
	addrs cluster.Client
}

// addr is the client's IP address. Any goroutine may ask for it.
func (c *clientSide) addr() netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs.Addr.Addr()
}

// brokerSide is a session's connection to its broker. The arrival sets it when it has
// dialled; after that it does not change.
type brokerSide struct {
	passedLogin atomic.Bool // the broker has answered a request that it answers only after a login

	mu      sync.Mutex        // guards the setting of the following
	conn    net.Conn          // nil: there is none yet
	plain   bool              // this connection and the client's are TCP and nothing else
	to      *route            // where requests go; nil: no broker was dialled yet
	renewal *reauthentication // of the proxy's login at the broker; nil: it lasts
}

// isOpen reports whether there is a connection. Any goroutine may ask, and use the
// connection then.
func (b *brokerSide) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn != nil
}

// closeNow closes the connection, if there is one yet.
func (b *brokerSide) closeNow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		relay.CloseNow(b.conn)
	}
}

// route returns where requests go; nil: no broker was dialled yet.
func (b *brokerSide) route() *route {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.to
}

// address is where the broker was dialled; "" if it was not.
func (b *brokerSide) address() string {
	if to := b.route(); to != nil {
		return to.address
	}
	return ""
}

// way returns the way to the session's broker; before a broker is reached, the current one.
func (s *session) way() *cluster.Way {
	if to := s.broker.route(); to != nil && to.way != nil {
		return to.way
	}
	return s.endpoint.listener.cluster.Way()
}

// newSession returns the session of a connection that the entry's gate counts by source.
func newSession(p *Proxy, e *entry, client net.Conn, source netip.Addr) *session {
	s := &session{
		proxy:    p,
		entry:    e,
		endpoint: e.endpoint,
		opened:   time.Now(),
		client: clientSide{
			conn:   client,
			stream: client,
			from:   client.RemoteAddr().String(),
			source: source,
			addrs:  cluster.Client{Addr: hostport.AddrPort(client.RemoteAddr()), Local: hostport.AddrPort(client.LocalAddr())},
		},
	}
	now := int64(mark.Of(s.opened))
	s.up.Active.Store(now)
	s.down.Active.Store(now)
	s.account.s = s
	s.node.Store(e.endpoint.label())
	s.expires = expiry(&s.proxy.conf().Config, s.opened)
	s.queue.Init()
	return s
}

// move moves requests and responses until the session is parked, or has ended.
func (s *session) move() (parked bool) {
	for s.life.ended() == nil {
		if s.pump() && s.proxy.parked.park(s) {
			return true
		}
	}
	s.resetIfDown()
	s.lingerForClient()
	return false
}

// pump runs both pumps until they end: with the session, or because it can be
// parked.
func (s *session) pump() (parks bool) {
	s.life.drop(parking)
	s.keep()
	s.up.Connect(s.client.stream, s.broker.conn, s.proxy.pipes)
	s.down.Connect(s.broker.conn, s.client.stream, s.proxy.pipes)
	var responses sync.WaitGroup
	responses.Go(newResponsePump(s).run)
	parks = newRequestPump(s).run()
	responses.Wait()
	if s.queue.IsClosed() { // it has ended: a reason that neither has noted stands here
		s.life.note(end(BrokerClosed, nil))
	}
	return parks
}

// close closes both connections, and gives back the session's timer, buffers and counts.
func (s *session) close() {
	s.broker.renewal.stop()
	if s.broker.conn != nil {
		_ = s.broker.conn.Close()
		s.broker.to.way.Release()
	}
	_ = s.client.stream.Close()
	s.endpoint.listener.cluster.ProbeLeft(s, s.client.id)
	s.up.GiveBack()
	s.down.GiveBack()
	s.proxy.budget.ending.Add(-s.life.ended().frees)
	s.account.Release(s.account.held.Load()) // responses of the proxy's own that were not delivered, and the queue
}

// resetIfDown closes the client's connection by a reset if its broker is down (see
// traits.reset).
func (s *session) resetIfDown() {
	if s.isDown() {
		relay.CloseByReset(s.client.conn)
	}
}

// isDown reports whether the session has ended because its broker is down, or the way to
// it: none was reached, or no response came through.
func (s *session) isDown() bool {
	switch traitsOf[s.life.ended().reason].reset {
	case resetAlways:
		return true
	case resetUnheard:
		return !s.hasHeard()
	case resetBeforeLogin:
		return !s.broker.passedLogin.Load()
	case resetUnheardByCommand:
		through := s.way().Via()
		return through != nil && through.IsCommand() && !s.hasHeard()
	default:
		return false
	}
}

// hasHeard reports whether the client has had anything: from its broker, or at its
// login from the proxy.
func (s *session) hasHeard() bool { return s.down.Moved() > 0 || s.client.user != "" }

// readBy lets reads from the client fail from deadline on; the zero time: never. It returns the
// asks of the session: a goroutine that asks something wakes the session by a deadline in the
// past, and readBy may just have overwritten that. No other function sets a deadline that is
// not in the past.
func (s *session) readBy(deadline time.Time) (asks, error) {
	err := s.client.conn.SetReadDeadline(deadline)
	return s.life.asks(), err
}

// leave asks the session to end between two requests, once the responses in flight
// have been delivered. The first reason stands.
func (s *session) leave(ask asks) {
	s.life.leave(ask)
	s.stopReaching(s.life.leaving())
	s.wake()
}

// wake makes the request loop check the asks of the session, and wakes a parked session. The
// caller has added its ask before.
func (s *session) wake() {
	_ = s.client.conn.SetReadDeadline(wait.Past) // a connection that fails ends anyway
	s.proxy.parked.wake(s)
}

// drain asks the session to end once the responses in flight are delivered.
func (s *session) drain() { s.leave(askDrain) }

// cut ends the session at once, and returns how many responses its client is owed. It is owed none where
// the session only waits for the end of the other sides.
func (s *session) cut(reason CloseReason) (owed int) {
	why := end(reason, nil)
	if owed = s.queue.Owed(); owed > 0 {
		why.err = errUnanswered(owed)
	}
	s.life.note(why)
	s.stopReaching(why)
	relay.CloseNow(s.client.conn)
	s.broker.closeNow()
	s.proxy.parked.wake(s)
	return owed
}

// cutAll cuts sessions, and returns how many of them were owed responses.
func cutAll(sessions []*session, reason CloseReason) (owed int) {
	for _, s := range sessions {
		if s.cut(reason) > 0 {
			owed++
		}
	}
	return owed
}

// lingerForClient ends the proxy's side where the client has not ended its own, and waits a
// little until the client does the same, if the reason asks for it. A goroutine that asks
// something of the session meanwhile, for example a drain, wakes the read, and does not
// shorten the wait.
func (s *session) lingerForClient() {
	if !traitsOf[s.life.ended().reason].linger {
		return
	}
	relay.CloseWrite(s.client.stream)
	until := time.Now().Add(clientLinger)
	for {
		if _, err := s.readBy(until); err != nil {
			return
		}
		_, err := io.Copy(io.Discard, s.client.stream)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(until) {
			return
		}
	}
}
