package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"kproxy/internal/wire"
)

// Login is one login, as a client of Kafka does it:
//
//	SaslHandshake v1 ─▶ SaslAuthenticate ─▶ … as often as the mechanism says
//
// The caller sends the request of Request, gives the response to Answer, and repeats that
// until Request returns nil. A Login is not safe for concurrent use.
type Login struct {
	mechanism   string
	source      any // identifies the cluster for the turns of computations
	credentials Credentials
	session     sasl.Session
	token       []byte // the next one to send
	version     int16  // of SaslAuthenticate
	shaken      bool   // the handshake is over
	done        bool
	challenged  bool // the broker's first token has its reply
	lifetime    time.Duration
}

// Session is the session that a login has opened.
type Session struct {
	// Lifetime is how long the broker serves the connection before it requires another login
	// on it (KIP-368); 0: for ever.
	Lifetime time.Duration
	// Version is that of SaslAuthenticate, for logins on the same connection.
	Version int16
}

// The newest supported versions. SaslHandshake v0 is not supported: tokens that are no
// requests follow it.
const (
	handshakeVersion       = 1
	maxAuthenticateVersion = 2
)

// MaxAnswer bounds the response to a request of a login, in bytes. It is a broker's own
// limit for requests (sasl.server.max.receive.size).
const MaxAnswer = 512 << 10

// Request returns the next request, or nil when the login is over.
func (l *Login) Request() kmsg.Request {
	switch {
	case l.done:
		return nil
	case !l.shaken:
		req := kmsg.NewPtrSASLHandshakeRequest()
		req.Version = handshakeVersion
		req.Mechanism = l.mechanism
		return req
	default:
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.Version = l.version
		req.SASLAuthBytes = l.token
		return req
	}
}

// Use makes the login use the version of SaslAuthenticate of an earlier one on this
// connection.
func (l *Login) Use(s Session) { l.version = s.Version }

// Session returns the session that the login has opened, once the login is complete.
func (l *Login) Session() Session { return Session{l.lifetime, l.version} }

// Answer takes the payload of the response to the last request, behind its correlation id.
// Errors are [*LoginError]s. For SCRAM, Answer computes for a while, and may wait for other
// computations first. It returns when ctx ends.
func (l *Login) Answer(ctx context.Context, payload []byte) error {
	if !l.shaken {
		l.shaken = true
		return l.handshake(payload)
	}
	return l.authenticate(ctx, payload)
}

// handshake reads SaslHandshake's response. It is read by hand, like the others: kmsg
// trusts counts.
func (l *Login) handshake(payload []byte) error {
	r := wire.NewReader(payload)
	code := r.Int16()
	var offered []string
	for n := r.ArrayLen(false); n > 0 && r.Err() == nil; n-- {
		offered = append(offered, string(r.String(false)))
	}
	switch {
	case r.Err() != nil:
		return l.failed(fmt.Errorf("the response to SaslHandshake: %w", r.Err()))
	case code == kerr.UnsupportedSaslMechanism.Code:
		return l.refused(&OfferError{offered}, "set sasl.mechanism to one that the broker offers")
	case code == kerr.IllegalSaslState.Code:
		return l.refused(ErrNoLogin, "take sasl out of the cluster, or lead bootstrap to the brokers' SASL listener")
	case code != 0:
		return l.refused(kerr.ErrorForCode(code), "")
	}
	return nil
}

func (l *Login) authenticate(ctx context.Context, payload []byte) error {
	r := wire.NewReader(payload)
	flexible := l.version >= 2
	if flexible {
		r.SkipTags()
	}
	code, message := r.Int16(), string(r.String(flexible))
	token := r.Bytes(flexible)
	var lifetime int64
	if l.version >= 1 {
		lifetime = r.Int64()
	}
	if r.Err() != nil {
		return l.failed(fmt.Errorf("the response to SaslAuthenticate: %w", r.Err()))
	}
	if code != 0 {
		err := kerr.ErrorForCode(code)
		if message != "" {
			err = fmt.Errorf("%w: %s", err, spoken(message, l.secrets()))
		}
		return l.rejected(err, "correct the credentials in sasl, or the broker's")
	}
	if l.mechanism == OAuthBearer && len(token) > 0 { // why the token is refused, as JSON (RFC 7628)
		return l.rejected(fmt.Errorf("the broker refuses the token: %s", spoken(string(token), l.secrets())), "look at the token's issuer, scope and life")
	}
	step, err := l.challenge(ctx, token)
	if err != nil {
		return err
	}
	l.done, l.token, l.lifetime = step.done, step.token, lifetimeOf(lifetime)
	return nil
}

// step is the client's reply to one token of the broker's.
type step struct {
	done  bool
	token []byte // the next one to send
	err   error
}

// challenge computes the reply to the broker's token. The first one of SCRAM makes
// kproxy compute as many iterations as it asks for, so it is checked first.
func (l *Login) challenge(ctx context.Context, token []byte) (next step, err error) {
	work := func() step {
		done, reply, err := l.session.Challenge(token)
		return step{done, reply, err}
	}
	if first := !l.challenged; !first || l.mechanism != ScramSHA256 && l.mechanism != ScramSHA512 {
		next = work()
	} else if err = checkServerFirst(token); err != nil {
		return next, l.refused(err, "set "+strconv.Itoa(DefaultIterations)+" iterations for the user at the broker (kafka-configs.sh --alter --add-config '"+l.mechanism+"=[iterations=…,password=…]')")
	} else if next, err = compute(ctx, computations, claimant{kind: forBrokers, path: []any{l.source}}, work); err != nil {
		return next, l.failed(fmt.Errorf("compute the SCRAM proof: %w", err))
	}
	l.challenged = true
	if next.err != nil {
		return next, l.refused(spokenError(next.err, l.secrets()), "correct the credentials in sasl, or the broker's")
	}
	return next, nil
}

// checkServerFirst returns an error unless token is a broker's first SCRAM message
// (RFC 5802: nonce, salt, iteration count) with a count that kproxy computes.
// pkg/sasl computes any count, and does not check the third field's name.
func checkServerFirst(token []byte) error {
	fields := strings.SplitN(string(token), ",", 4) // nonce, salt, count, extensions
	if len(fields) < 3 || !strings.HasPrefix(fields[2], "i=") {
		return errors.New("the broker's first SCRAM message has no iteration count in its third field")
	}
	iterations, err := strconv.Atoi(fields[2][len("i="):])
	switch {
	case err != nil:
		return errors.New("the broker's SCRAM iteration count is not a number")
	case iterations < MinIterations || iterations > maxIterations:
		return fmt.Errorf("the broker asks for %d SCRAM iterations; kproxy computes from %d to %d", iterations, MinIterations, maxIterations)
	}
	return nil
}

func (l *Login) failed(err error) error { return &LoginError{Mechanism: l.mechanism, Err: err} }

// rejected reports that a broker has refused the credentials.
func (l *Login) rejected(err error, fix string) error {
	if l.credentials.Refused != nil {
		l.credentials.Refused()
	}
	return l.refused(err, fix)
}

// secrets are the secrets that the broker has got and may repeat, in all their forms.
func (l *Login) secrets() []string {
	return append(encoded(sent(l.token)...), forms(l.credentials.Secrets...)...)
}

func (l *Login) refused(err error, fix string) error {
	return &LoginError{Mechanism: l.mechanism, Refused: true, Err: err, Fix: fix}
}

// endedDuringLogin is the fix for a broker that has responded to ApiVersions, and ends the connection at a login.
const endedDuringLogin = "the broker ended the connection during the login, and its log has the reason: see that sasl has the user and " +
	"the mechanism that this listener of the broker wants"

// LogIn logs in over a connection on which nothing has been sent. It sends ApiVersions first,
// as a client does. host is the broker's own name, a host:port. clientID is the client.id of
// the requests. ctx bounds the whole login. The connection has no deadline afterwards.
func (m *Method) LogIn(ctx context.Context, conn net.Conn, host, clientID string) (Session, error) {
	l, err := m.Begin(ctx, host)
	if err != nil {
		return Session{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	session, err := l.over(ctx, asker{conn, kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))})
	if !stop() && err == nil {
		err = l.failed(ctx.Err()) // whether or not the deadline has passed already
	}
	if cause := ctx.Err(); err != nil && cause != nil {
		if le, ok := errors.AsType[*LoginError](err); !ok || !le.Refused {
			err = &LoginError{Mechanism: l.mechanism, Err: cause, Unanswered: ok && le.Unanswered}
		}
	}
	return session, err
}

// over does the whole login over a new connection.
func (l *Login) over(ctx context.Context, a asker) (Session, error) {
	payload, err := a.ask(kmsg.NewPtrApiVersionsRequest())
	if err == nil {
		l.version, err = authenticateVersion(payload)
	}
	if err != nil {
		return Session{}, &LoginError{Mechanism: l.mechanism, Unanswered: true, Err: fmt.Errorf("ask for API versions: %w", err)}
	}
	for req := l.Request(); req != nil; req = l.Request() {
		payload, err := a.ask(req)
		if err != nil {
			failed := &LoginError{Mechanism: l.mechanism, Err: fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)}
			if errors.Is(err, io.EOF) {
				failed.Fix = endedDuringLogin
			}
			return Session{}, failed
		}
		if err := l.Answer(ctx, payload); err != nil {
			return Session{}, err
		}
	}
	return l.Session(), nil
}

// authenticateVersion reads ApiVersions v0's response.
func authenticateVersion(payload []byte) (int16, error) {
	r := wire.NewReader(payload)
	if err := kerr.ErrorForCode(r.Int16()); err != nil {
		return 0, err
	}
	newest := map[int16]int16{}
	for n := r.ArrayLen(false); n > 0 && r.Err() == nil; n-- {
		key, low, high := r.Int16(), r.Int16(), r.Int16()
		if key == kmsg.SASLAuthenticate.Int16() && low > maxAuthenticateVersion {
			return 0, fmt.Errorf("the broker speaks SaslAuthenticate from v%d on, and this build up to v%d; upgrade kproxy", low, maxAuthenticateVersion)
		}
		newest[key] = high
	}
	if r.Err() != nil {
		return 0, r.Err()
	}
	handshake, hasHandshake := newest[kmsg.SASLHandshake.Int16()]
	authenticate, hasAuthenticate := newest[kmsg.SASLAuthenticate.Int16()]
	if !hasHandshake || handshake < handshakeVersion || !hasAuthenticate {
		return 0, errors.New("the broker is older than Kafka 1.0, and takes no SaslAuthenticate")
	}
	return min(authenticate, maxAuthenticateVersion), nil
}

// asker sends one request after another over a connection of its own.
type asker struct {
	conn      io.ReadWriter
	formatter *kmsg.RequestFormatter
}

// loginCorrelationID is the correlation id of every request of a login: its response
// comes before the next one is sent.
const loginCorrelationID = 1

func (a asker) ask(req kmsg.Request) (payload []byte, err error) {
	if _, err := a.conn.Write(a.formatter.AppendRequest(nil, req, loginCorrelationID)); err != nil {
		return nil, err
	}
	var prefix [wire.ResponsePrefixLen]byte
	if _, err := io.ReadFull(a.conn, prefix[:]); err != nil {
		return nil, err
	}
	size := wire.Size(prefix[:])
	if size < wire.MinResponseSize || size > MaxAnswer || wire.CorrelationID(prefix[:]) != loginCorrelationID {
		return nil, fmt.Errorf("not a Kafka response: % x", prefix)
	}
	payload = make([]byte, size-wire.MinResponseSize)
	_, err = io.ReadFull(a.conn, payload)
	return payload, err
}
