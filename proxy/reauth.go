package proxy

import (
	"context"
	"errors"
	"fmt"
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
)

// reauthentication repeats the proxy's login on a session's broker connection: a broker that gives a
// login a lifetime ends the connection at the first request after it, unless another login
// has come on the same connection (KIP-368).
//
//	timer ──▶ prepare: gets the secrets ──▶ marks the session, and wakes it
//	                                              │
//	    request pump, between two requests  ◀─────┘
//	      SaslHandshake ──▶ … its response is swallowed ──▶ SaslAuthenticate ──▶ … ──▶ timer
//
// The request pump sends the first request of the login when the client has the responses to all
// its earlier requests. Until the login is done, it does not read from the client: a broker
// accepts no other request during a login. connect_timeout bounds the login.
type reauthentication struct {
	s      *session
	host   string       // the broker's own name
	opened auth.Session // by the last login; the request pump's own

	ready  atomic.Pointer[auth.Login] // prepared, and to be used between two requests
	asking atomic.Bool                // a login goes on
	heard  atomic.Bool                // its last request has a response, which is not judged yet
	answer []byte                     // that: the response pump's until it is settled, then the request pump's

	ctx       context.Context // of preparing; cancel ends it
	cancel    context.CancelFunc
	mu        sync.Mutex // guards the following
	timer     *time.Timer
	stopped   bool
	preparing sync.WaitGroup // timers that have not fired, and the calls of prepare that they have started
}

const (
	// A login is renewed when this part of its lifetime has passed, or up to
	// renewJitter of it earlier, so that sessions do not all come at once.
	renewPart   = 0.8
	renewJitter = 0.1
	// minRenew is the minimum interval of logins, also if a broker gives shorter lifetimes.
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

// newRenewal has the session log in again before the login that it has opened with expires.
// It returns nil if the login does not expire.
func newRenewal(ctx context.Context, s *session, to *cluster.Link) *reauthentication {
	if to.Login.Lifetime <= 0 {
		return nil
	}
	r := &reauthentication{s: s, host: to.Host, opened: to.Login}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.renew()
	return r
}

// logsIn reports whether a login goes on.
func (r *reauthentication) logsIn() bool { return r != nil && r.asking.Load() }

// judges reports whether the request pump has a response of the login's to judge.
func (r *reauthentication) judges() bool { return r.logsIn() && r.heard.Load() }

// stop ends the renewal, and waits until it has.
func (r *reauthentication) stop() {
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
func (r *reauthentication) renew() {
	if lifetime := r.opened.Lifetime; lifetime > 0 {
		r.prepareAfter(renewAfter(lifetime))
	}
}

func (r *reauthentication) prepareAfter(d time.Duration) {
	lifetime := r.opened.Lifetime
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.preparing.Add(1)
	r.timer = time.AfterFunc(d, func() {
		defer r.preparing.Done()
		r.prepare(lifetime)
	})
}

// prepare gets the credentials of a login, from a token server for example, and then has the
// request pump send it. The client is served meanwhile.
func (r *reauthentication) prepare(lifetime time.Duration) {
	c, way := r.s.endpoint.listener.cluster, r.s.way()
	if c.Way().Method() != way.Method() { // a configuration came: the client connects again, and kproxy logs in by that
		r.s.leave(askDrain)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, way.LoginTimeout())
	defer cancel()
	login, err := way.Method().Begin(ctx, r.host)
	if err != nil {
		if r.ctx.Err() == nil {
			c.log.Warn("cannot prepare the next login of a session; trying on, until the broker ends it",
				slog.Any(logkey.Error, err), slog.String(logkey.Fix, "look at the cluster's sasl"))
			r.prepareAfter(max(time.Duration(retryPart*float64(lifetime)), minRenew))
		}
		return
	}
	r.ready.Store(login)
	if r.s.life.add(askLogin)&askEnd == 0 { // or it ends, and needs no login
		r.s.wake()
	}
}

// reauthenticate does the prepared login, between two requests. It returns whether the request
// loop goes on, or the error that stops it.
func (p *requestPump) reauthenticate() stopped {
	p.s.life.drop(askLogin)
	asked, err := p.s.readBy(time.Time{})
	switch {
	case err != nil:
		return stopOf(&relay.SideError{Reading: true, Err: err}, false)
	case asked&responsesEnded != 0:
		return stopped{stop: stopResponsesEnded}
	}
	if err := p.exchangeLogin(); err != nil {
		return stopOf(err, false)
	}
	p.s.life.drop(askQuiet) // the client was not read, so it may have sent something
	return stopped{stop: readsOn}
}

// exchangeLogin sends the login's requests, and waits for the response to each.
func (p *requestPump) exchangeLogin() error {
	r := p.s.broker.renewal
	login := r.ready.Swap(nil)
	if login == nil {
		return nil
	}
	if err := p.up.Flush(); err != nil {
		return err
	}
	p.queue.WaitDelivered() // a broker may hold an earlier request for minutes
	if p.queue.IsClosed() {
		return &relay.SideError{Err: errResponsesEnded}
	}
	login.Use(r.opened)
	r.asking.Store(true)
	defer r.asking.Store(false)
	timeout := p.s.broker.to.way.LoginTimeout()
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	silent := time.AfterFunc(timeout, func() {
		why := &ended{
			reason: BrokerLogin,
			err:    fmt.Errorf("the broker has not answered within %v while kproxy logged in again", timeout),
			fix:    "look at the broker's log and load; connect_timeout is the limit",
		}
		if left := p.s.clientLeft(); left != nil {
			why = left.with(why.err)
		}
		p.s.life.note(why)
		relay.CloseNow(p.s.broker.conn) // ends the response pump, and so the wait for it
	})
	defer silent.Stop()
	for req := login.Request(); req != nil; req = login.Request() {
		payload, err := p.ask(req)
		if err != nil {
			return err
		}
		if err := login.Answer(ctx, payload); err != nil {
			return dialFailure(err)
		}
	}
	if p.queue.IsClosed() { // the response pump leaves it to this one to say so
		return end(BrokerClosed, nil)
	}
	r.opened = login.Session()
	r.renew()
	return nil
}

// ask sends a request of the proxy's own on the client's connection to the
// broker, and waits for the response.
func (p *requestPump) ask(req kmsg.Request) (payload []byte, err error) {
	const correlationID = 1 // each is answered before the next one is sent
	p.s.broker.renewal.heard.Store(false)
	if _, err := p.push(inflight.Request{CorrelationID: correlationID, Kind: inflight.OwnRequest}); err != nil {
		return nil, err
	}
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(ownClientID))
	// The login does not go through the stream, which counts the client's bytes: a login does
	// not show that a session is not idle.
	if _, err := p.s.broker.conn.Write(formatter.AppendRequest(nil, req, correlationID)); err != nil {
		return nil, &relay.SideError{Err: err}
	}
	p.queue.WaitDelivered()
	if !p.s.broker.renewal.heard.Load() { // the queue is closed
		return nil, &relay.SideError{Err: errResponsesEnded}
	}
	// If the broker has ended the connection behind the response, that says why.
	return p.s.broker.renewal.answer, nil
}

// ownClientID is the client.id of the proxy's own requests on a session that is
// open: a request behind the first tells nothing about loops.
const ownClientID = "kproxy"

// errLoginCut says how a broker ends a login that it does not care to answer.
var errLoginCut = errors.New("the broker ended the connection while kproxy logged in again")
