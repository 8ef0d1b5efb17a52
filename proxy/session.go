package proxy

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kproxy/internal/cluster"
	"kproxy/internal/hostport"
	"kproxy/internal/inflight"
	"kproxy/internal/mark"
	"kproxy/internal/relay"
	"kproxy/rewrite"
)

const (
	// owedSilence is how long a broker may be silent while a client that has
	// ended its side, or that has to come back, is still owed answers. It
	// bounds what a client that is gone can leave behind: while the proxy reads
	// nothing more from it, nothing else tells.
	owedSilence = time.Minute
	// brokerLinger is how long a broker has to end its side after the proxy
	// did, so that requests without an answer (acks=0) are read before a reset.
	brokerLinger = 5 * time.Second
	// clientLinger is how long a client has to end its side after a broker
	// did, so that a reset does not overtake the last answer.
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
//	  closed                     closed         owed answers are delivered first
//	                                            broker ends: what it sent is delivered
//	                                            anything wrong: closed at once
//
// Two goroutines move it: the one that opened it, which becomes the pump of
// requests, and the pump of answers, which that one starts and waits for.
// Whichever finds the end notes the reason; the first one stands. A session that
// is parked has none (see lot).
type session struct {
	proxy    *Proxy
	door     *door
	endpoint *endpoint // the endpoint that the client chose; Proxy.mu guards its setting
	counted  bool      // as one of endpoint's listener's; guarded by Proxy.mu
	admitted bool      // by the gate of that listener, beside the door's
	plain    bool      // both connections are TCP and nothing else; set with broker

	midRequest bool // the pump of requests has begun to read one
	inTokens   bool // it reads raw SASL tokens

	from   string     // the client's host:port
	source netip.Addr // what the gate counts the client by
	party  cluster.Client
	tlvs   string // what it said beside the addresses
	name   string // the server name that the client asked for in TLS
	opened time.Time

	client   net.Conn     // as it was accepted
	stream   net.Conn     // what the client's bytes go through: client, or TLS over it; for run and the pumps alone
	broker   net.Conn     // set before the pump of answers starts
	up, down relay.Stream // client to broker, broker to client
	queue    inflight.Queue
	walker   rewrite.Walker

	clientID    string
	user        string       // the user as which the client has logged in at the proxy; "": it has not
	login       *clientLogin // at kproxy; nil: the client has not begun one
	node        atomic.Int32 // whose endpoint the client chose, as NodeCount has it
	to          *route       // where requests go; nil: no broker was dialled yet; set like broker
	expires     mark.Mark
	held        atomic.Int64 // bytes beside the buffers (see budget)
	passedLogin atomic.Bool  // the broker has answered what it answers only behind a login
	life        lifecycle
	ticket      uint64 // of the lot, which guards it; 0: the session is not parked

	renewal *renewal // of the proxy's login at the broker; nil: it lasts; set with broker

	watch watch // the sweep's

	mu sync.Mutex // guards the setting of party, broker, to, plain and renewal
}

// newSession returns the session of a connection that the door's gate counts by source.
func newSession(d *door, client net.Conn, source netip.Addr) *session {
	s := &session{
		proxy:    d.proxy,
		door:     d,
		endpoint: d.endpoint,
		from:     client.RemoteAddr().String(),
		source:   source,
		opened:   time.Now(),
		client:   client,
		stream:   client,
		party:    cluster.Client{Addr: hostport.AddrPort(client.RemoteAddr()), Local: hostport.AddrPort(client.LocalAddr())},
	}
	now := int64(mark.Of(s.opened))
	s.up.Active.Store(now)
	s.down.Active.Store(now)
	s.node.Store(d.endpoint.label())
	s.expires = expiry(&s.proxy.conf.Config, s.opened)
	s.queue.Init()
	return s
}

// move moves requests and answers until the session is parked, or has ended.
func (s *session) move() (parked bool) {
	for s.life.ended() == nil {
		if s.pump() && s.proxy.lot.park(s) {
			return true
		}
	}
	s.resetIfDown()
	s.lingerForClient()
	s.stopRenewing()
	return false
}

// pump runs both pumps until they end: with the session, or because it can be
// parked.
func (s *session) pump() (parks bool) {
	s.life.drop(parking)
	s.keep()
	s.up.Connect(s.stream, s.broker, s.proxy.pipes)
	s.down.Connect(s.broker, s.stream, s.proxy.pipes)
	var answers sync.WaitGroup
	answers.Go(s.pumpAnswers)
	parks = s.pumpRequests()
	answers.Wait()
	if s.queue.IsClosed() { // it has ended: a reason that neither has noted stands here
		s.life.note(end(BrokerClosed, nil))
	}
	return parks
}

// close closes both connections, and gives back what the session has borrowed.
func (s *session) close() {
	if s.broker != nil {
		_ = s.broker.Close()
	}
	_ = s.stream.Close()
	s.endpoint.listener.cluster.ProbeLeft(s, s.clientID)
	s.up.GiveBack()
	s.down.GiveBack()
	s.proxy.budget.ending.Add(-s.life.ended().frees)
	s.Release(s.held.Load()) // responses of the proxy's own that were not delivered, and the queue
}

// resetIfDown closes the client's connection by a reset if its broker is down (see
// traits.reset).
func (s *session) resetIfDown() {
	if s.isDown() {
		relay.CloseByReset(s.client)
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
		return !s.passedLogin.Load()
	case resetUnheardByCommand:
		through := s.endpoint.listener.cluster.Via
		return through != nil && through.IsCommand() && !s.hasHeard()
	default:
		return false
	}
}

// hasHeard reports whether the client has had anything: from its broker, or at its
// login from the proxy.
func (s *session) hasHeard() bool { return s.down.Moved() > 0 || s.user != "" }

// readBy lets reads from the client fail from deadline on; the zero time: never. It returns
// what the session has been asked: the deadline in the past, by which a goroutine that asks
// something wakes the session, may just have been overwritten. No other function sets a
// deadline that is not in the past.
func (s *session) readBy(deadline time.Time) (asks, error) {
	err := s.client.SetReadDeadline(deadline)
	return s.life.asks(), err
}

// drain asks the session to end once the answers in flight are delivered.
func (s *session) drain() { s.leave(askDrain) }

// cut ends the session at once.
func (s *session) cut(reason CloseReason) {
	why := end(reason, nil)
	if owed := s.queue.Owed(); owed > 0 {
		why.err = errUnanswered(owed)
	}
	s.life.note(why)
	relay.CloseNow(s.client)
	s.closeBroker()
	s.proxy.lot.wake(s)
}

// closeBroker closes the broker's connection, if there is one yet.
func (s *session) closeBroker() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broker != nil {
		relay.CloseNow(s.broker)
	}
}

// past is a deadline that has expired.
var past = time.Unix(1, 0)

// lingerForClient ends the proxy's side where the client has not ended its own, and waits a
// little until the client does the same, if the reason asks for it.
func (s *session) lingerForClient() {
	if !traitsOf[s.life.ended().reason].linger {
		return
	}
	relay.CloseWrite(s.stream)
	if _, err := s.readBy(time.Now().Add(clientLinger)); err == nil {
		_, _ = io.Copy(io.Discard, s.stream)
	}
}
