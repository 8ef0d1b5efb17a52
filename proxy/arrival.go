package proxy

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/cluster"
	"kproxy/internal/foreign"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// arrival is a client that has connected, until there is a broker for it:
//
//	(PROXY header) ──▶ (TLS) ──▶ first header ──▶ (login) ──▶ dial
//
// It belongs to the goroutine that opens the session, and is gone once the session is open.
// No other goroutine calls its methods, and no pump runs meanwhile.
type arrival struct {
	s      *session
	conf   *listenerConf      // of the endpoint's listener, as it was when the client came
	headed bool               // a PROXY protocol header may come first
	first  wire.RequestHeader // of the client's first request
}

// open reads the client's first header, and connects the session with its broker. It
// reports whether it did.
func (a *arrival) open(ctx context.Context) bool {
	s := a.s
	if err := a.firstHeader(ctx); err != nil {
		s.life.note(err)
		s.resetIfDown()
		return false
	}
	s.client.id = loggedID(a.first.ClientID)
	err := a.identify(ctx)
	if err == nil {
		err = a.dial(ctx)
	}
	if err == nil && (s.strays(s.endpoint.listener.cluster) || s.endpoint.isStale()) { // the map has changed during the dial
		err = end(BrokerMoved, nil)
	}
	if err != nil {
		s.life.note(err)
		a.turnAway()
		return false
	}
	return true
}

// loggedID returns client.id as it is logged: no more of it is kept.
func loggedID(clientID []byte) string { return foreign.Line(string(clientID)) }

// identify ends the session of a client that is kproxy itself, and has the client log in
// where it has to.
func (a *arrival) identify(ctx context.Context) error {
	if c := a.s.endpoint.listener.cluster; c.ProbeArrived(a.s, a.s.client.id) {
		return &ended{
			reason: Loop,
			err:    errors.New("a bootstrap address of this cluster leads back to this proxy"),
			fix:    "point clusters." + c.name + ".bootstrap at the brokers themselves",
		}
	}
	if a.mustLogIn() {
		return a.logIn(ctx)
	}
	return nil
}

// firstHeader reads the header of the first request, and leaves it in the stream. Until it
// is complete the client has a deadline, and no broker is dialled. A load balancer's header
// may come before it, and then a TLS handshake, which has a deadline of its own.
func (a *arrival) firstHeader(ctx context.Context) error {
	s := a.s
	s.keep()
	s.up.Keeper.Turn.Begin()
	defer s.up.Keeper.Turn.End()
	s.up.Connect(s.client.conn, nil, nil)
	if err := a.readBy(a.deadline()); err != nil {
		return err
	}
	if a.headed {
		if err := a.readProxyHeader(); err != nil {
			return a.noRequest(err)
		}
	}
	if a.conf.tls != nil {
		if err := a.handshake(ctx); err != nil {
			return err
		}
		if err := a.readBy(a.deadline()); err != nil {
			return err
		}
	}
	b, err := s.up.Peek(wire.SizeLen)
	if err != nil {
		return a.noRequest(err)
	}
	if protocol := wire.Recognize(b); protocol != wire.NotForeign {
		return foreignProtocol(protocol)
	}
	if err := a.sizeLimit().check(wire.Size(b)); err != nil {
		if protocol := wire.RecognizeRefused(b); protocol != wire.NotForeign {
			return foreignProtocol(protocol)
		}
		return err
	}
	if a.first, err = readHeader(&s.up); err != nil {
		return a.noRequest(err)
	}
	if _, err := s.readBy(time.Time{}); err != nil { // the request loop looks for a drain that has come meanwhile
		return end(ClientReset, err)
	}
	return nil
}

func foreignProtocol(foreign wire.Foreign) *ended {
	return &ended{reason: ForeignProtocol, err: errors.New("the client sent " + string(foreign)), fix: foreign.Advice()}
}

// deadline is until when the client may take for its first request, or its login, from now
// on.
func (a *arrival) deadline() time.Time { return time.Now().Add(a.s.proxy.conf().FirstRequestTimeout) }

// readBy is session.readBy. The error says that the session ends: between two steps of an
// arrival a drain ends it.
func (a *arrival) readBy(deadline time.Time) error {
	asked, err := a.s.readBy(deadline)
	if err != nil {
		return end(ClientReset, err)
	}
	if asked&askEnd != 0 {
		return asked.end()
	}
	return nil
}

// sizeLimit is how large a request may be that the client sends now.
func (a *arrival) sizeLimit() sizeLimit {
	if a.mustLogIn() {
		return a.s.proxy.limitOfLogins()
	}
	return a.s.proxy.limitOfRequests()
}

// noRequest says why no first request came.
func (a *arrival) noRequest(err error) error {
	s := a.s
	side, ok := errors.AsType[*relay.SideError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		if why := s.life.leaving(); why != nil {
			return why
		}
		return &ended{
			reason: FirstRequestTimeout,
			err:    errors.New("no complete request header"),
			fix:    "if this is a load balancer's health check, let it close its connections",
		}
	case s.up.Buffered() == 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)): // health checks do both
		return end(NoRequest, nil)
	case errors.Is(err, relay.ErrNoData):
		return end(TLSFailed, side.Err)
	case errors.Is(err, io.EOF):
		return end(ClientClosed, errors.New("inside its first request header"))
	default:
		return end(ClientReset, side.Err)
	}
}

// dial connects the session to its broker: the one whose endpoint the client
// chose, or any for bootstrap. A node that is not known yet is asked for at a
// bootstrap broker.
func (a *arrival) dial(ctx context.Context) error {
	s := a.s
	if s.endpoint.isStale() {
		return end(BrokerMoved, nil)
	}
	replaced := s.endpoint.listener.cluster.Replaced()
	reaches, done := s.reach(ctx)
	defer done()
	to, own, err := a.reach(reaches, s.endpoint.listener.cluster)
	b := &s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = &route{target: to.Target, address: to.Address, ownBroker: own, way: to.Way, replaced: replaced}
	if why := stoppedReaching(reaches); why != nil {
		if err == nil { // it was reached all the same
			to.Close()
			b.to.way = nil
		}
		return why
	}
	if err != nil {
		return dialFailure(err)
	}
	b.conn, b.plain = to.Conn, relay.IsPlainTCP(s.client.stream) && relay.IsPlainTCP(to.Conn)
	b.renewal = newRenewal(ctx, s, &to)
	return nil
}

// reach makes the connection to the session's broker. own says that the broker may
// be sent any request: it is the endpoint's own, or the endpoint is for any, and it is not suspected to be
// one of another cluster.
func (a *arrival) reach(ctx context.Context, c *servedCluster) (to cluster.Link, own bool, err error) {
	s := a.s
	l := s.endpoint.listener
	if s.endpoint.slot == bootstrapSlot {
		to, err = c.DialAny(ctx, s.client.addrs)
		return to, !c.IsSuspect(to.Target), err
	}
	c.Settle(ctx, func() bool { return c.IsNodeDisputed(l.name, s.endpoint.slot) })
	if b, ok := c.NodeAt(l.name, s.endpoint.slot); ok {
		s.node.Store(b.Node)
		to, err = c.DialNode(ctx, b, s.client.addrs)
		return to, !c.IsSuspect(to.Target), err
	}
	to, err = c.DialAny(ctx, s.client.addrs)
	return to, false, err
}

// turnAway ends a session that has no broker.
func (a *arrival) turnAway() {
	s := a.s
	switch why := s.life.ended(); {
	case cluster.IsRefusedLogin(why.err):
		a.respondLoginRefused()
		s.lingerForClient()
	case why.reason == BrokerLogin, (why.reason == Drained || why.reason == Disconnected) && s.broker.route() != nil: // it was about to be dialled
		relay.CloseByReset(s.client.conn) // as resetIfDown
	default:
		s.resetIfDown()
		s.lingerForClient()
	}
}

// respondLoginRefused answers a client's first request, if that is ApiVersions, with
// the reason why there is no broker for it. Clients show the error's name, where
// the end of the connection alone would be a riddle. Any other request has to do
// with that end.
func (a *arrival) respondLoginRefused() {
	s := a.s
	if s.client.user != "" || rewrite.TreatmentOf(a.first.Key, a.first.Version) != rewrite.Whole || a.first.Key != kmsg.ApiVersions.Int16() {
		return
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version, resp.ErrorCode = a.first.Version, kerr.SaslAuthenticationFailed.Code
	payload := resp.AppendTo(nil) // no version of its header is flexible
	_ = s.client.conn.SetWriteDeadline(time.Now().Add(clientLinger))
	_, _ = s.client.stream.Write(append(wire.AppendResponsePrefix(nil, a.first.CorrelationID, len(payload)), payload...))
}
