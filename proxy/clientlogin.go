package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/inflight"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// clientLogin is a client's login at kproxy, before there is a broker for it:
//
//	ApiVersions ──▶ the brokers' versions (cluster.APIVersions)
//	SaslHandshake v0 ──▶ raw tokens        ─┐
//	SaslHandshake v1 ──▶ SaslAuthenticate… ─┴▶ logged in: dial, and pump
//	anything else, or a wrong password ──▶ the end
//
// The arrival uses it first. Later the client may log in again, as the same user (KIP-368),
// and the request pump uses it.
type clientLogin struct {
	s        *session
	users    *auth.Users        // who may log in
	exchange *auth.Conversation // the login that goes on; nil: there is none
}

// loginReply is the result of a request of a login.
type loginReply struct {
	payload []byte // of the response: the bytes behind its correlation id, or a raw token
	why     error  // why the session ends, once the response is sent; nil: it goes on
	silent  bool   // there is no response: the session ends at once
}

// replyWith is a reply that has a response. If why is not nil, the session ends then.
func replyWith(payload []byte, why error) loginReply { return loginReply{payload: payload, why: why} }

// endSilently is a reply without a response.
func endSilently(why error) loginReply { return loginReply{why: why, silent: true} }

// failedLoginDelay is how long the response to a wrong password waits, as a
// broker's does (connection.failed.authentication.delay.ms): it bounds how many
// can be tried.
const failedLoginDelay = 100 * time.Millisecond

// readUsers reads who may log in at the listener.
func (l *listener) readUsers(conf *config.ListenerPlan) (*auth.Users, error) {
	if conf.Login == nil {
		return nil, nil
	}
	return config.OpenUsers(l.key, conf.Login, func(err error) {
		l.log.Error("the users file has changed and cannot be read; the old users stay", slog.Any(logkey.Error, err))
	})
}

// loginVersions are the versions of the APIs of a login at kproxy.
func loginVersions(key int16) (low, high int16, ok bool) {
	switch key {
	case kmsg.SASLHandshake.Int16():
		return 0, kmsg.NewPtrSASLHandshakeRequest().MaxVersion(), true
	case kmsg.SASLAuthenticate.Int16():
		return 0, kmsg.NewPtrSASLAuthenticateRequest().MaxVersion(), true
	default:
		return 0, 0, false
	}
}

// replyTo moves a login by one request of SaslHandshake or SaslAuthenticate.
func (c *clientLogin) replyTo(ctx context.Context, h wire.RequestHeader, frame []byte) loginReply {
	if h.Key == kmsg.SASLHandshake.Int16() {
		return c.begin(h, frame)
	}
	if h.Version > kmsg.NewPtrSASLAuthenticateRequest().MaxVersion() {
		return endSilently(unknownLoginVersion(h))
	}
	token, err := wire.SASLToken(frame, h, h.Version >= 2)
	if err != nil {
		return endSilently(end(BadRequest, err))
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.Version = h.Version
	var why error
	if c.exchange == nil {
		why = illegalState("SaslAuthenticate without SaslHandshake")
		resp.ErrorCode, resp.ErrorMessage = kerr.IllegalSaslState.Code, &kerr.IllegalSaslState.Description
	} else {
		reply := c.step(ctx, token)
		if reply.silent {
			return reply
		}
		if resp.SASLAuthBytes, why = reply.payload, reply.why; why != nil {
			resp.SASLAuthBytes, resp.ErrorCode = []byte{}, kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = new(errors.Unwrap(why).Error())
		}
	}
	var payload []byte
	if h.Version >= 2 {
		payload = append(payload, 0) // the header's tags
	}
	return replyWith(resp.AppendTo(payload), why)
}

// begin begins a login by the mechanism that SaslHandshake names.
func (c *clientLogin) begin(h wire.RequestHeader, frame []byte) loginReply {
	if h.Version > kmsg.NewPtrSASLHandshakeRequest().MaxVersion() {
		return endSilently(unknownLoginVersion(h))
	}
	mechanism, err := wire.SASLMechanism(frame, h)
	if err != nil {
		return endSilently(end(BadRequest, err))
	}
	if now := c.s.endpoint.listener.conf().users; now != nil { // a listener without a login leaves those that there are
		c.users = now
	}
	users := c.users
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.Version, resp.SupportedMechanisms = h.Version, users.Mechanisms()
	var why error
	switch {
	case c.s.client.user != "" && h.Version == 0: // tokens that are no requests do not go with others
		why = illegalState("SaslHandshake v0 after a login")
		resp.ErrorCode = kerr.IllegalSaslState.Code
	case c.exchange != nil:
		why = illegalState("a second SaslHandshake")
		resp.ErrorCode = kerr.IllegalSaslState.Code
	default:
		if c.exchange, err = users.Begin(mechanism, auth.Peer{Source: c.s.client.addrs.Addr.Addr(), Stay: c.stays}); err != nil {
			why = &ended{
				reason: ClientLogin,
				err:    fmt.Errorf("the client wants to log in by %q", mechanism),
				fix:    "set the client's mechanism to one of login.mechanisms, or add this one there",
			}
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
	}
	return replyWith(resp.AppendTo(nil), why)
}

func illegalState(what string) error { return end(ClientLogin, errors.New(what)) }

func unknownLoginVersion(h wire.RequestHeader) error {
	return &ended{
		reason: UnsupportedVersion,
		err:    fmt.Errorf("%s v%d is not known to this build", kmsg.NameForKey(h.Key), h.Version),
		fix:    "the client ignores ApiVersions, or needs a newer kproxy",
	}
}

// step moves the client's login by one token. The reply has the token that is the response.
// If the login is refused, the reply's error wraps the message for the client instead.
func (c *clientLogin) step(ctx context.Context, token []byte) loginReply {
	exchange := c.exchange
	answer, err := exchange.Step(ctx, token)
	_, refused := errors.AsType[*auth.RefusedError](err)
	switch {
	case refused:
	case err != nil:
		return endSilently(c.unchecked(err))
	case exchange.Done() && c.s.client.user != "" && c.s.client.user != exchange.User():
		err = fmt.Errorf("Cannot change principals during re-authentication from %s", c.s.client.user) //nolint:staticcheck // what clients show, in Kafka's words
	}
	if err != nil {
		wait.Sleep(ctx, failedLoginDelay)
		return replyWith(nil, &ended{reason: ClientLogin, err: err, fix: "look at the client's user and password, and at the users file"})
	}
	if exchange.Done() {
		c.exchange = nil // it holds the client's tokens, and the users file as it was
		if c.s.client.user == "" {
			c.s.client.user = exchange.User()
		}
	}
	return replyWith(answer, nil)
}

// stays returns why the session does not need its turn for a password check any
// more, if it does not: it drains, or its client has left. A client that has ended
// its side has left, too: a broker would close its connection.
func (c *clientLogin) stays() error {
	if why := c.s.life.leaving(); why != nil {
		return why
	}
	if t, ok := transportOf(relay.SocketOf(c.s.client.conn)); ok && (t.closed || t.ended) {
		return end(ClientClosed, errors.New("while its password waited to be checked"))
	}
	return nil
}

// unchecked returns why the session ends without a response to the client's
// password. SASL_AUTHENTICATION_FAILED would be wrong: clients give up for it.
func (c *clientLogin) unchecked(err error) error {
	const fix = "offer SCRAM, whose logins cost kproxy nothing, or users with fewer iterations; limits.max_per_source and limits.accept_rate bound a flood"
	switch {
	case c.s.life.leaving() != nil:
		return c.s.life.leaving()
	case errors.Is(err, auth.ErrTooMany):
		return &ended{reason: TooManyLogins, err: errors.New("too many passwords wait to be checked, and none from as many as this address and user"), fix: fix}
	case errors.Is(err, context.DeadlineExceeded):
		return &ended{reason: TooManyLogins, err: errors.New("the password was not checked within first_request_timeout"), fix: fix}
	default: // what stays returned, or the proxy stops
		return err
	}
}

// reauthenticateClient answers a login of a client that has one.
func (p *requestPump) reauthenticateClient(r inflight.Request, frame int) error {
	if frame > p.s.proxy.conf().MaxRequestBytesBeforeLogin {
		return end(RequestTooLarge, errFrameSize(int32(frame)))
	}
	b, h, err := wholeRequest(p.up, frame)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.s.proxy.lifetime(), p.s.proxy.conf().FirstRequestTimeout)
	defer cancel()
	reply := p.s.login.replyTo(ctx, h, b[:frame])
	if reply.silent {
		return reply.why
	}
	if err := p.respond(r, frame, reply.payload); err != nil {
		return err
	}
	if reply.why != nil {
		p.queue.WaitDelivered()
	}
	return reply.why
}

// lifetime returns the context that ends when the proxy stops.
func (p *Proxy) lifetime() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}
