package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/inflight"
	"kproxy/internal/logkey"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// A client's login at the proxy, before there is a broker for it:
//
//	ApiVersions ──▶ answered with what the brokers speak (offers.go)
//	SaslHandshake v0 ──▶ raw tokens        ─┐
//	SaslHandshake v1 ──▶ SaslAuthenticate… ─┴▶ logged in: dial, and pump
//	anything else, or a wrong password ──▶ the end
//
// All of it has to come within first_request_timeout. Later the client may log in
// again, as the same user (KIP-368), and is answered here too.

// failedLoginDelay is how long the answer to a wrong password waits, as a
// broker's does (connection.failed.authentication.delay.ms): it bounds how many
// can be tried.
const failedLoginDelay = 100 * time.Millisecond

// readUsers reads who may log in at the listener.
func (l *listener) readUsers() (err error) {
	if l.conf.Login == nil {
		return nil
	}
	l.users, err = openUsers(l.key(), l.conf.Login, func(err error) {
		l.log.Error("the users file has changed and cannot be read; the old users stay", slog.Any(logkey.Error, err))
	})
	return err
}

// openUsers reads the users file of the listener that key names. The error is a
// [*ConfigError].
func openUsers(key string, conf *Login, failed func(error)) (*auth.Users, error) {
	users, err := auth.NewUsers(context.Background(), conf.UsersFile, conf.Mechanisms, failed)
	if err != nil {
		return nil, &ConfigError{
			Key:     key + ".login.users_file",
			Problem: err.Error(),
			Fix:     "name a file that kproxy may read, with lines of kproxy passwd",
		}
	}
	return users, nil
}

// mustLogIn reports whether the client has to log in at the proxy, and has not.
func (s *session) mustLogIn() bool { return s.endpoint.listener.users != nil && s.user == "" }

// admit has the client log in. Its first request's header is in the pipe.
func (s *session) admit(ctx context.Context) error {
	deadline := time.Now().Add(s.proxy.conf.FirstRequestTimeout)
	if err := s.arriveBy(deadline); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for s.user == "" {
		if why := s.life.leaving(); why != nil {
			return why
		}
		if err := s.loginRequest(ctx); err != nil {
			return s.beforeLogin(err)
		}
	}
	if _, err := s.readBy(time.Time{}); err != nil {
		return end(ClientReset, err)
	}
	return nil // a drain that has come meanwhile is seen by the pump of requests
}

// beforeLogin says why a client has not logged in.
func (s *session) beforeLogin(err error) error {
	var side *relay.SideError
	switch {
	case !errors.As(err, &side):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && s.life.leaving() == nil:
		return end(ClientLogin, errors.New("no login in time"))
	case errors.Is(err, io.EOF):
		return end(ClientClosed, errors.New("before it had logged in"))
	default:
		return s.beforeRequest(err)
	}
}

// loginRequest answers one request of a client that has not logged in.
func (s *session) loginRequest(ctx context.Context) error {
	b, err := s.up.Peek(wire.SizeLen)
	if err != nil {
		return err
	}
	if err := s.checkSize(wire.Size(b)); err != nil {
		return err
	}
	frame := wire.SizeLen + int(wire.Size(b))
	b, h, err := s.wholeRequest(frame)
	if err != nil {
		return err
	}
	s.up.Frames.Add(1)
	s.endpoint.listener.counters.request(h.Key, h.Version)
	payload, fails, err := s.loginAnswer(ctx, h, b[:frame])
	if err != nil {
		return err
	}
	if err := s.up.Drop(frame); err != nil {
		return err
	}
	if err := s.tell(h, payload); err != nil {
		return err
	}
	if fails == nil && h.Key == kmsg.SASLHandshake.Int16() && h.Version == 0 {
		return s.rawTokens(ctx)
	}
	return fails
}

// tell sends an answer of the proxy's own to a client that has no broker yet.
func (s *session) tell(h wire.RequestHeader, payload []byte) error {
	return s.put(append(wire.AppendResponsePrefix(nil, h.CorrelationID, len(payload)), payload...))
}

// put sends a frame to a client that has no broker yet. One that does not read
// has as long as for its requests.
func (s *session) put(frame []byte) error {
	if err := s.client.SetWriteDeadline(time.Now().Add(s.proxy.conf.FirstRequestTimeout)); err != nil {
		return end(ClientReset, err)
	}
	if _, err := s.stream.Write(frame); err != nil {
		return end(ClientReset, err)
	}
	if err := s.client.SetWriteDeadline(time.Time{}); err != nil {
		return end(ClientReset, err)
	}
	return nil
}

// loginAnswer is the answer to a request of a client that has not logged in. The
// session ends with fails once the answer is sent.
func (s *session) loginAnswer(ctx context.Context, h wire.RequestHeader, frame []byte) (payload []byte, fails, err error) {
	switch {
	case rewrite.AnswersAPIVersions(h.Key, h.Version):
		return rewrite.AppendUnsupportedAPIVersions(nil), nil, nil
	case h.Key == kmsg.ApiVersions.Int16():
		// Others may wait for the same answer: this client's deadline is not theirs.
		payload, err = s.offer(s.proxy.lifetime(), h.Version)
		return payload, nil, err
	case isLogin(h.Key):
		return s.loginStep(ctx, h, frame)
	default:
		return nil, nil, &ended{
			reason: ClientLogin,
			err:    fmt.Errorf("%s before a login", kmsg.NameForKey(h.Key)),
			fix:    "give the client a user and a password (SASL); this listener wants a login",
		}
	}
}

// loginStep moves a login by one request of SaslHandshake or SaslAuthenticate.
func (s *session) loginStep(ctx context.Context, h wire.RequestHeader, frame []byte) (payload []byte, fails, err error) {
	if h.Key == kmsg.SASLHandshake.Int16() {
		return s.chooseMechanism(h, frame)
	}
	if h.Version > kmsg.NewPtrSASLAuthenticateRequest().MaxVersion() {
		return nil, nil, unknownLoginVersion(h)
	}
	token, err := wire.SASLToken(frame, h, h.Version >= 2)
	if err != nil {
		return nil, nil, end(BadRequest, err)
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.Version = h.Version
	switch {
	case s.login == nil || s.login.Done():
		fails = illegalState("SaslAuthenticate without SaslHandshake")
		resp.ErrorCode, resp.ErrorMessage = kerr.IllegalSaslState.Code, &kerr.IllegalSaslState.Description
	default:
		resp.SASLAuthBytes, fails, err = s.step(ctx, token)
		if err != nil {
			return nil, nil, err
		}
		if fails != nil {
			resp.SASLAuthBytes, resp.ErrorCode = []byte{}, kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = new(errors.Unwrap(fails).Error())
		}
	}
	if h.Version >= 2 {
		payload = append(payload, 0) // the header's tags
	}
	return resp.AppendTo(payload), fails, nil
}

// chooseMechanism begins a login.
func (s *session) chooseMechanism(h wire.RequestHeader, frame []byte) (payload []byte, fails, err error) {
	if h.Version > kmsg.NewPtrSASLHandshakeRequest().MaxVersion() {
		return nil, nil, unknownLoginVersion(h)
	}
	mechanism, err := wire.SASLMechanism(frame, h)
	if err != nil {
		return nil, nil, end(BadRequest, err)
	}
	users := s.endpoint.listener.users
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.Version, resp.SupportedMechanisms = h.Version, users.Mechanisms()
	switch {
	case s.user != "" && h.Version == 0: // tokens that are no requests do not go with others
		fails = illegalState("SaslHandshake v0 after a login")
		resp.ErrorCode = kerr.IllegalSaslState.Code
	case s.login != nil && !s.login.Done():
		fails = illegalState("a second SaslHandshake")
		resp.ErrorCode = kerr.IllegalSaslState.Code
	default:
		if s.login, err = users.Begin(mechanism, auth.Peer{Source: s.party.client.Addr(), Stay: s.stays}); err != nil {
			fails = &ended{
				reason: ClientLogin,
				err:    fmt.Errorf("the client wants to log in by %q", mechanism),
				fix:    "set the client's mechanism to one of login.mechanisms, or add this one there",
			}
			resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
	}
	return resp.AppendTo(nil), fails, nil
}

func illegalState(what string) error { return end(ClientLogin, errors.New(what)) }

func unknownLoginVersion(h wire.RequestHeader) error {
	return &ended{
		reason: UnsupportedVersion,
		err:    fmt.Errorf("%s v%d is not known to this build", kmsg.NameForKey(h.Key), h.Version),
		fix:    "the client ignores ApiVersions, or needs a newer kproxy",
	}
}

// step moves the client's login by one token. The session ends with fails, which
// wraps the message for the client, once that is sent; err ends it at once.
func (s *session) step(ctx context.Context, token []byte) (answer []byte, fails, err error) {
	answer, err = s.login.Step(ctx, token)
	_, refused := errors.AsType[*auth.RefusedError](err)
	switch {
	case refused:
		fails = err
	case err != nil:
		return nil, nil, s.unchecked(err)
	case s.login.Done() && s.user != "" && s.user != s.login.User():
		fails = fmt.Errorf("Cannot change principals during re-authentication from %s", s.user) //nolint:staticcheck // what clients show, in Kafka's words
	}
	if fails != nil {
		sleep(ctx, failedLoginDelay)
		return nil, &ended{reason: ClientLogin, err: fails, fix: "look at the client's user and password, and at the users file"}, nil
	}
	if s.login.Done() {
		s.user = s.login.User()
	}
	return answer, nil, nil
}

// stays returns why the session does not need its turn for a password check any
// more, if it does not: it drains, or its client has left. A client that has ended
// its side has left, too: a broker would close its connection.
func (s *session) stays() error {
	if why := s.life.leaving(); why != nil {
		return why
	}
	if t, ok := transportOf(relay.SocketOf(s.client)); ok && (t.closed || t.ended) {
		return end(ClientClosed, errors.New("while its password waited to be checked"))
	}
	return nil
}

// unchecked returns why the session ends without an answer to the client's
// password. SASL_AUTHENTICATION_FAILED would be wrong: clients give up for it.
func (s *session) unchecked(err error) error {
	const fix = "offer SCRAM, whose logins cost kproxy nothing, or users with fewer iterations; limits.max_per_source and limits.accept_rate bound a flood"
	switch {
	case s.life.leaving() != nil:
		return s.life.leaving()
	case errors.Is(err, auth.ErrTooMany):
		return &ended{reason: TooManyLogins, err: errors.New("too many passwords wait to be checked, and none from as many as this address and user"), fix: fix}
	case errors.Is(err, context.DeadlineExceeded):
		return &ended{reason: TooManyLogins, err: errors.New("the password was not checked within first_request_timeout"), fix: fix}
	default: // what stays returned, or the proxy stops
		return err
	}
}

// rawTokens reads the tokens that follow SaslHandshake v0: a size, and bytes. A
// login that fails has no answer then but the end.
func (s *session) rawTokens(ctx context.Context) error {
	for !s.login.Done() {
		frame, err := s.tokenFrame()
		if err != nil {
			return err
		}
		if frame > s.proxy.conf.MaxRequestBytesBeforeLogin {
			return end(RequestTooLarge, errFrameSize(int32(frame)))
		}
		b, err := s.up.Peek(frame)
		if err != nil {
			return err
		}
		answer, fails, err := s.step(ctx, b[wire.SizeLen:frame])
		if err != nil {
			return err
		}
		if fails != nil {
			return fails
		}
		if err := s.up.Drop(frame); err != nil {
			return err
		}
		if err := s.put(append(wire.AppendSize(nil, len(answer)), answer...)); err != nil {
			return err
		}
	}
	return nil
}

// logsInAgain answers a login of a client that has one.
func (s *session) logsInAgain(r inflight.Request, frame int) error {
	if frame > s.proxy.conf.MaxRequestBytesBeforeLogin {
		return end(RequestTooLarge, errFrameSize(int32(frame)))
	}
	b, h, err := s.wholeRequest(frame)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.proxy.lifetime(), s.proxy.conf.FirstRequestTimeout)
	defer cancel()
	payload, fails, err := s.loginStep(ctx, h, b[:frame])
	if err != nil {
		return err
	}
	if err := s.answer(r, frame, payload); err != nil {
		return err
	}
	if fails != nil {
		s.queue.WaitDelivered()
	}
	return fails
}

// lifetime returns the context that ends when the proxy stops.
func (p *Proxy) lifetime() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}
