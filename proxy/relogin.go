package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/cluster"
	"kproxy/internal/inflight"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
)

// renewal keeps the proxy's login on a session's broker connection alive: a
// broker that gives a login a lifetime ends the connection at the first request
// after it, unless another login has come on the same connection (KIP-368).
//
//	timer ──▶ prepare: gets the secrets ──▶ marks the session, and wakes it
//	                                              │
//	    pump of requests, between two requests ◀──┘
//	      SaslHandshake ──▶ … its answer is swallowed ──▶ SaslAuthenticate ──▶ … ──▶ timer
//
// Meanwhile the client is not read: a broker takes no other request during a
// login. What it has sent before is answered, in order, before the login is.
type renewal struct {
	host   string       // the broker's own name
	opened auth.Session // by the last login; the pump of requests' own

	ready  atomic.Pointer[auth.Login] // prepared, and to be used between two requests
	asking atomic.Bool                // a login goes on
	heard  atomic.Bool                // its last request has an answer, which is not judged yet
	answer []byte                     // that: the pump of answers' until it is settled, then that of requests'

	ctx       context.Context // of preparing; cancel ends it
	cancel    context.CancelFunc
	mu        sync.Mutex // guards the following
	timer     *time.Timer
	stopped   bool
	preparing sync.WaitGroup // timers that have not fired, and what they have started
}

const (
	// A login is renewed when this part of its lifetime has passed, or up to
	// renewJitter of it earlier, so that sessions do not all come at once.
	renewPart   = 0.8
	renewJitter = 0.1
	// minRenew bounds what a broker with absurd lifetimes can ask for.
	minRenew = time.Second
	// retryPart is the part of a lifetime after which a login is tried again for
	// which the secrets could not be had.
	retryPart = 0.05
)

// renewAfter is when a login that has this lifetime is followed by another.
func renewAfter(lifetime time.Duration) time.Duration {
	part := renewPart - renewJitter*rand.Float64() //nolint:gosec // spreads load, keeps no secret
	return max(time.Duration(part*float64(lifetime)), minRenew)
}

// startRenewing has the session log in again before the login that it has opened
// with expires, if it does. The caller holds mu.
func (s *session) startRenewing(ctx context.Context, to *cluster.Link) {
	if to.Login.Lifetime <= 0 {
		return
	}
	s.renewal = &renewal{host: to.Host, opened: to.Login}
	s.renewal.ctx, s.renewal.cancel = context.WithCancel(ctx)
	s.renew()
}

// logsIn reports whether a login goes on.
func (r *renewal) logsIn() bool { return r != nil && r.asking.Load() }

// judges reports whether the pump of requests has an answer of the login's to judge.
func (r *renewal) judges() bool { return r.logsIn() && r.heard.Load() }

// stopRenewing ends what startRenewing has begun, and waits for it.
func (s *session) stopRenewing() {
	r := s.renewal
	if r == nil {
		return
	}
	r.cancel()
	r.mu.Lock()
	r.stopped = true
	if r.timer != nil && r.timer.Stop() {
		r.preparing.Done()
	}
	r.mu.Unlock()
	r.preparing.Wait()
}

// renew sets the timer for the next login, if there has to be one.
func (s *session) renew() {
	if lifetime := s.renewal.opened.Lifetime; lifetime > 0 {
		s.prepareAfter(renewAfter(lifetime))
	}
}

func (s *session) prepareAfter(d time.Duration) {
	r := s.renewal
	lifetime := r.opened.Lifetime
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.preparing.Add(1)
	r.timer = time.AfterFunc(d, func() {
		defer r.preparing.Done()
		s.prepareLogin(lifetime)
	})
}

// prepareLogin gets what a login needs, from a token server for example, and then has the
// pump of requests send it. The client is served meanwhile.
func (s *session) prepareLogin(lifetime time.Duration) {
	r := s.renewal
	c := s.endpoint.listener.cluster
	ctx, cancel := context.WithTimeout(r.ctx, c.LoginTimeout())
	defer cancel()
	login, err := c.Method.Begin(ctx, r.host)
	if err != nil {
		if r.ctx.Err() == nil {
			c.log.Warn("cannot prepare the next login of a session; trying on, until the broker ends it",
				slog.Any(logkey.Error, err), slog.String(logkey.Fix, "look at the cluster's sasl"))
			s.prepareAfter(max(time.Duration(retryPart*float64(lifetime)), minRenew))
		}
		return
	}
	r.ready.Store(login)
	if s.life.add(askLogin)&askEnd == 0 { // or it ends, and needs no login
		s.wake()
	}
}

// logInAgain moves the login that has been prepared, between two requests. Then the
// request loop goes on, or is stopped by what has gone wrong.
func (s *session) logInAgain() stopped {
	s.life.drop(askLogin)
	asked, err := s.readBy(time.Time{})
	switch {
	case err != nil:
		return stopOf(&relay.SideError{Reading: true, Err: err}, false)
	case asked&responsesEnded != 0:
		return stopped{stop: stopResponsesEnded}
	}
	if err := s.exchangeLogin(); err != nil {
		return stopOf(err, false)
	}
	return stopped{stop: readsOn}
}

// exchangeLogin sends the login's requests, and waits for the response to each.
func (s *session) exchangeLogin() error {
	r := s.renewal
	login := r.ready.Swap(nil)
	if login == nil {
		return nil
	}
	if err := s.up.Flush(); err != nil {
		return err
	}
	login.Use(r.opened)
	r.asking.Store(true)
	defer r.asking.Store(false)
	ctx, cancel := context.WithTimeout(r.ctx, s.endpoint.listener.cluster.LoginTimeout())
	defer cancel()
	for req := login.Request(); req != nil; req = login.Request() {
		payload, err := s.ask(req)
		if err != nil {
			return err
		}
		if err := login.Answer(ctx, payload); err != nil {
			return dialFailure(err)
		}
	}
	if s.queue.IsClosed() { // the pump of answers leaves it to this one to say so
		return end(BrokerClosed, nil)
	}
	r.opened = login.Session()
	s.renew()
	return nil
}

// ask sends a request of the proxy's own on the client's connection to the
// broker, and waits for the answer.
func (s *session) ask(req kmsg.Request) (payload []byte, err error) {
	const correlationID = 1 // each is answered before the next one is sent
	s.renewal.heard.Store(false)
	if _, err := s.push(inflight.Request{CorrelationID: correlationID, Kind: inflight.OwnRequest}); err != nil {
		return nil, err
	}
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(ownClientID))
	// Past the pipe, which counts what the client sends: a login is no sign that
	// a session is not idle.
	if _, err := s.broker.Write(formatter.AppendRequest(nil, req, correlationID)); err != nil {
		return nil, &relay.SideError{Err: err}
	}
	s.queue.WaitDelivered()
	if !s.renewal.heard.Load() { // the queue is closed
		return nil, &relay.SideError{Err: errAnswersEnded}
	}
	// If the broker has ended the connection behind the answer, that says why.
	return s.renewal.answer, nil
}

// swallow keeps an answer to a request of the proxy's own from the client.
func (s *session) swallow(frame int) error {
	if frame > auth.MaxAnswer {
		return end(BadAnswer, errFrameSize(int32(frame)))
	}
	b, err := s.down.Peek(frame)
	if err != nil {
		return err
	}
	s.renewal.answer = bytes.Clone(b[wire.ResponsePrefixLen:frame])
	s.renewal.heard.Store(true)
	return s.down.Drop(frame)
}

// ownClientID is the client.id of the proxy's own requests on a session that is
// open: a request behind the first tells nothing about loops.
const ownClientID = "kproxy"

// errLoginCut says how a broker ends a login that it does not care to answer.
var errLoginCut = errors.New("the broker ended the connection while kproxy logged in again")
