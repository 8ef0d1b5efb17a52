package proxy

import (
	"fmt"
	"net"
	"time"

	"kproxy/internal/mark"
	"kproxy/internal/relay"
)

// looksPerLimit is how often a peer is looked at before it counts as gone: every
// 15 s of 2 minutes.
const looksPerLimit = 8

func (p *Proxy) lookInterval() time.Duration { return p.conf().PeerGoneAfter / looksPerLimit }

// transport is the kernel's state of one TCP connection.
type transport struct {
	closed      bool          // there is no connection any more: it was reset, or keep-alive has ended it
	ended       bool          // the peer has ended its side, and this one has not
	outstanding bool          // bytes are sent or to be sent, and not acknowledged
	unanswered  bool          // of those, or of probes, something was sent again and again in vain
	lastACK     time.Duration // how long ago the last acknowledgement of any kind came
}

// silence is how long a peer has not acknowledged outstanding bytes. A peer is gone if bytes
// were outstanding for the whole limit, and no acknowledgement of any kind arrived.
//
// A slow peer is not gone: a client that does not read has closed its window, and its kernel
// answers our kernel's window probes for ever. Linux 6.18 reported these values of a sender
// whose receiver was in another network namespace:
//
//	receiver, time         unacked  notsent  retransmits  probes  backoff  last_ack_recv
//	reads nothing, 20 s    0        571,960  0            0       6        up to 13 s
//	reads nothing, 1 min   0        571,960  0            0       8        up to 52 s
//	reads nothing, 6 min   0        571,960  0            0       11       up to 120 s
//	dropped, 10 s          1        0        4            0       4        10 s
//	dropped, 1 min         1        0        8            0       8        1 min
//	read nothing for 40 s,
//	then dropped, 1 min    0        621,192  0            1, 2    8, 9     over 1 min
//
// So unacked alone misses a peer that closed its window before it went: bytes that are not
// sent yet count too. Two minutes without an acknowledgement prove nothing by themselves: the
// interval between probes doubles up to 120 s (net.ipv4.tcp_rto_max_ms), so that the last
// acknowledgement of a living client gets older than that, by a round trip, before the next
// one arrives. Only a probe or a retransmission that is still unanswered at the next look
// shows that the peer is gone. (Single ones can be unanswered in the first second, too: Linux
// answers segments outside its window at most every 500 ms, tcp_invalid_ratelimit.)
//
// The age of the last acknowledgement is not the time that a peer has been silent either: on
// a connection without traffic it is the age of the last keep-alive probe's. The time counts
// from the first look at which bytes were outstanding.
type silence struct {
	since      mark.Mark // the first look at which bytes were outstanding; never: none were
	unanswered bool      // at the last look
}

// look takes the state of the connection at one look, and reports whether its peer is gone.
func (s *silence) look(now time.Time, t transport, limit time.Duration) (gone bool) {
	if !t.outstanding {
		*s = silence{}
		return false
	}
	if s.since == mark.Never {
		s.since = mark.Of(now)
	}
	before := s.unanswered
	s.unanswered = t.unanswered
	return before && t.unanswered && min(t.lastACK, s.since.Age(now)) >= limit
}

// departure is how long a session has stood still, while its client may be gone and no
// goroutine reads from it. The request pump does not read while it waits for responses in
// flight (at the end of a session, before a login), for room in the queue, or for a broker that
// takes no more bytes. If the broker has hung, only the kernel knows then that the client has
// left:
//
//   - A closed socket: the client was reset, or keep-alive has ended it. The requests before a
//     reset still go to the broker, and some of them have no response. So bytes that move count.
//   - The end of the client's side. Its socket is in CLOSE-WAIT whether it waits for its
//     responses or has closed. If it has closed, its kernel forgets the connection (Linux: in
//     60 s) and answers the next keep-alive probe with a reset.
type departure struct {
	state presence
	since mark.Mark // the first look at that state since when nothing has moved
	moved int64     // then; see progress
}

// presence is the state of a client, as far as the sweep knows.
type presence uint8

const (
	present presence = iota
	waits            // responses are owed, and kproxy reads no further requests, or the client sends none
	left             // its socket is closed
)

// look takes the state of the client at one look, and returns for how long it has lasted, and
// nothing has moved.
func (d *departure) look(now time.Time, state presence, moved int64) time.Duration {
	if d.since == mark.Never || d.state != state || d.moved != moved {
		*d = departure{state, mark.Of(now), moved}
	}
	return d.since.Age(now)
}

// presence says where the client is, by the state of its connection.
func (s *session) presence(t transport) presence {
	switch {
	case t.closed:
		return left
	case s.life.finishing.Load() != nil, t.ended && s.queue.Owed() > 0:
		return waits
	default:
		return present
	}
}

// clientLeft returns why the session ends if its client has left while it was not read; nil: it
// is there, or the system does not know.
func (s *session) clientLeft() *ended {
	switch t, _ := transportOf(relay.SocketOf(s.client.conn)); {
	case t.closed:
		return end(ClientReset, nil)
	case t.ended:
		return end(ClientClosed, nil)
	default:
		return nil
	}
}

// progress returns a number that grows while the session's bytes move, or come from the
// broker, and whether the response pump waits for the client.
func (s *session) progress() (moved int64, writing bool) {
	down, writing := s.down.Progress()
	return down + s.up.Moved(), writing
}

// lookForDeparture ends the session if its client is gone, or waits for responses that do not
// come. A response that the client does not take is not the broker's silence.
func (s *session) lookForDeparture(now time.Time) {
	t, _ := transportOf(relay.SocketOf(s.client.conn))
	state := s.presence(t)
	moved, writing := s.progress()
	still := s.watch.departure.look(now, state, moved)
	switch limit := s.departureLimit(); {
	case state == left && still >= limit:
		s.abandon(end(ClientReset, fmt.Errorf("the client is gone, and nothing has moved for %s", limit)))
	case state == waits && writing && still >= untakenLimit:
		s.abandon(s.waitsFor().with(fmt.Errorf("the client has taken nothing for %s", untakenLimit)))
	case state == waits && !writing && still >= owedSilence:
		s.abandon(s.waitsFor().with(fmt.Errorf("the broker has sent nothing for %s", owedSilence)))
	}
}

// waitsFor returns why the session ends when the responses are delivered.
func (s *session) waitsFor() *ended {
	if why := s.life.finishing.Load(); why != nil {
		return why
	}
	return end(ClientClosed, nil)
}

// abandon ends a session whose client is gone, or does not get its responses.
func (s *session) abandon(why *ended) {
	if owed := s.queue.Owed(); owed > 0 {
		why = why.with(errUnanswered(owed))
	}
	s.life.note(why)
	if _, writing := s.progress(); writing || why.reason == ClientReset {
		relay.CloseByReset(s.client.conn) // without a reset the kernel would keep the bytes that it does not take
	}
	relay.CloseNow(s.broker.conn) // ends both pumps
	s.proxy.parked.wake(s)
}

// lookForPeers ends the session if one of its peers is gone. Keep-alive finds
// those that are gone while nothing is outstanding, and only those: Linux sends no
// keep-alive probe while something is. TCP_USER_TIMEOUT would find the others,
// and end those too that merely do not read.
func (s *session) lookForPeers(now time.Time) {
	limit := s.proxy.conf().PeerGoneAfter
	if t, ok := transportOf(relay.SocketOf(s.client.conn)); ok && s.watch.client.look(now, t, limit) {
		s.peerGone("client", s.client.conn, t)
	}
	if t, ok := transportOf(relay.SocketOf(s.broker.conn)); ok && s.watch.broker.look(now, t, limit) {
		s.peerGone("broker", s.broker.conn, t)
	}
}

// departureLimit is how long nothing may have moved for a client that is gone. What
// such a session holds is missing to others, so it has until the next look only.
func (s *session) departureLimit() time.Duration {
	if s.account.held.Load() > relay.FreeBytes {
		return s.proxy.lookInterval()
	}
	return min(s.proxy.conf().PeerGoneAfter, owedSilence)
}

// peerGone closes the connection to a peer that is gone. Its pump notices, and
// ends the other side.
func (s *session) peerGone(side string, conn net.Conn, t transport) {
	s.life.note(&ended{
		reason: PeerGone,
		err:    fmt.Errorf("the %s has acknowledged nothing for %s", side, t.lastACK.Round(time.Millisecond)),
		fix:    "look at the machine, and at what lies between: firewalls and NAT forget connections",
	})
	relay.CloseByReset(conn) // without a reset the kernel would keep the unacknowledged bytes
	s.proxy.parked.wake(s)
}
