package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// mustLogIn reports whether the client has to log in at the proxy, and has not.
func (a *arrival) mustLogIn() bool {
	return a.conf.users != nil && a.s.client.user == ""
}

// logIn has the client log in. Its first request's header is in the stream. All of the login
// has to come within first_request_timeout.
func (a *arrival) logIn(ctx context.Context) error {
	s := a.s
	s.login = &clientLogin{s: s, users: a.conf.users}
	deadline := a.deadline()
	if err := a.readBy(deadline); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for s.client.user == "" {
		if why := s.life.leaving(); why != nil {
			return why
		}
		if err := a.loginRequest(ctx); err != nil {
			return a.noLogin(err)
		}
	}
	if _, err := s.readBy(time.Time{}); err != nil { // the request loop looks for a drain that has come meanwhile
		return end(ClientReset, err)
	}
	return nil
}

// noLogin says why a client has not logged in.
func (a *arrival) noLogin(err error) error {
	side, ok := errors.AsType[*relay.SideError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && a.s.life.leaving() == nil:
		return end(ClientLogin, errors.New("no login in time"))
	case errors.Is(err, io.EOF):
		return end(ClientClosed, errors.New("before it had logged in"))
	case errors.Is(err, syscall.ECONNRESET): // noRequest takes it for that of a health check
		return end(ClientReset, side.Err)
	default:
		return a.noRequest(err)
	}
}

// loginRequest answers one request of a client that has not logged in.
func (a *arrival) loginRequest(ctx context.Context) error {
	s := a.s
	b, err := s.up.Peek(wire.SizeLen)
	if err != nil {
		return err
	}
	if err := a.sizeLimit().check(wire.Size(b)); err != nil {
		return err
	}
	frame := wire.SizeLen + int(wire.Size(b))
	b, h, err := wholeRequest(&s.up, frame)
	if err != nil {
		return err
	}
	s.up.Frames.Add(1)
	s.endpoint.listener.counters.request(h.Key, h.Version)
	reply := a.replyTo(ctx, h, b[:frame])
	if reply.silent {
		return reply.why
	}
	if err := s.up.Drop(frame); err != nil {
		return err
	}
	if err := a.send(append(wire.AppendResponsePrefix(nil, h.CorrelationID, len(reply.payload)), reply.payload...)); err != nil {
		return err
	}
	if reply.why == nil && h.Key == kmsg.SASLHandshake.Int16() && h.Version == 0 {
		return a.rawTokens(ctx)
	}
	return reply.why
}

// replyTo is the reply to a request of a client that has not logged in.
func (a *arrival) replyTo(ctx context.Context, h wire.RequestHeader, frame []byte) loginReply {
	switch {
	case rewrite.AnswersAPIVersions(h.Key, h.Version):
		return replyWith(rewrite.AppendUnsupportedAPIVersions(nil), nil)
	case h.Key == kmsg.ApiVersions.Int16():
		if h.Version >= wire.FirstClientSoftware {
			if name, version, err := wire.ClientSoftware(frame, h); err == nil {
				a.s.proxy.noteSoftware(a.s, name, version)
			}
		}
		// Others may wait for the same response: this client's deadline is not theirs.
		payload, err := a.offer(a.s.proxy.lifetime(), h.Version)
		if err != nil {
			return endSilently(err)
		}
		return replyWith(payload, nil)
	case isLogin(h.Key):
		return a.s.login.replyTo(ctx, h, frame)
	default:
		return endSilently(&ended{
			reason: ClientLogin,
			err:    fmt.Errorf("%s before a login", kmsg.NameForKey(h.Key)),
			fix:    "give the client a user and a password (SASL); this listener wants a login",
		})
	}
}

// rawTokens reads the tokens that follow SaslHandshake v0: a size, and bytes. A
// login that fails has no response then but the end.
func (a *arrival) rawTokens(ctx context.Context) error {
	s := a.s
	for s.login.exchange != nil {
		frame, err := tokenFrame(&s.up)
		if err != nil {
			return err
		}
		if frame > s.proxy.conf().MaxRequestBytesBeforeLogin {
			return end(RequestTooLarge, errFrameSize(int32(frame)))
		}
		b, err := s.up.Peek(frame)
		if err != nil {
			return err
		}
		reply := s.login.step(ctx, b[wire.SizeLen:frame])
		if reply.why != nil {
			return reply.why
		}
		if err := s.up.Drop(frame); err != nil {
			return err
		}
		if err := a.send(append(wire.AppendSize(nil, len(reply.payload)), reply.payload...)); err != nil {
			return err
		}
	}
	return nil
}

// send sends a frame to the client. One that does not read has as long as for its
// requests.
func (a *arrival) send(frame []byte) error {
	s := a.s
	if err := s.client.conn.SetWriteDeadline(a.deadline()); err != nil {
		return end(ClientReset, err)
	}
	if _, err := s.client.stream.Write(frame); err != nil {
		return end(ClientReset, err)
	}
	if err := s.client.conn.SetWriteDeadline(time.Time{}); err != nil {
		return end(ClientReset, err)
	}
	return nil
}
