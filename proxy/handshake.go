package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"kproxy/internal/foreign"
	"kproxy/internal/relay"
	"kproxy/internal/tlsconf"
	"kproxy/internal/turns"
	"kproxy/internal/wire"
)

// handshaking is a client's connection during its handshake. It has a place while
// the proxy works, and none while it waits for the client: half a handshake
// keeps no other client out, however many there are. It writes without a place, too: there
// are few, and a client that does not read must not hold one.
//
//	Read waits ──▶ bytes ──▶ waits for a place ──▶ the proxy works ──▶ Write ──▶ Read ──▶ …
//
// When the handshake is done it is the connection and nothing more.
type handshaking struct {
	net.Conn

	ctx     context.Context // of the handshake
	places  turns.Places
	account *account
	ahead   []byte // bytes that were read before the handshake, and belong to it
	read    int64  // bytes of the client
	placed  bool
	wrote   bool
	heard   bool // anything came
	done    bool
}

// NetConn is the connection under it.
func (h *handshaking) NetConn() net.Conn { return h.Conn }

func (h *handshaking) Read(b []byte) (n int, err error) {
	if h.done {
		return h.Conn.Read(b)
	}
	h.leave()
	if len(h.ahead) > 0 {
		n = copy(b, h.ahead)
		h.ahead = h.ahead[n:]
	} else if n, err = h.Conn.Read(b); n == 0 {
		return 0, err
	}
	h.heard = true
	if err := h.count(n); err != nil {
		return 0, err
	}
	if h.placed = h.places.TryTake(); !h.placed {
		if err := h.wait(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// count counts n more bytes of the client. Those of an ordinary handshake are a part of
// handshakeBytes. Longer ones stay held with the session: crypto/tls keeps the server name, the
// certificates, and a buffer for the longest message.
func (h *handshaking) count(n int) error {
	more := int64(n) - max(0, handshakeRead-h.read)
	h.read += int64(n)
	if more <= 0 {
		return nil
	}
	return h.account.Hold(handshakeFactor * more)
}

// wait takes a place when there is one, unless the client has left meanwhile: a
// flood of clients that send a hello and leave must not cost a signature each, while
// others wait behind them. Before the proxy has written anything, the end of
// a client's side means that the client has left: it cannot wait for a response yet.
func (h *handshaking) wait() error {
	if h.placed = h.places.Take(h.ctx.Done()); !h.placed {
		return h.ctx.Err()
	}
	if t, ok := transportOf(h.Conn); ok && (t.closed || t.ended && !h.wrote) {
		h.leave()
		return io.EOF
	}
	return nil
}

// Write gives up the place: the signature is complete before the first write.
func (h *handshaking) Write(b []byte) (int, error) {
	if !h.done { // who writes then is another's goroutine
		h.leave()
		h.wrote = true
	}
	return h.Conn.Write(b)
}

func (h *handshaking) leave() {
	if h.placed {
		h.places.Give()
		h.placed = false
	}
}

// handshake does the server's part of a TLS handshake with the client. It begins with the bytes
// that the session has read and not used.
func (a *arrival) handshake(ctx context.Context) error {
	s := a.s
	if err := a.readBy(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.proxy.conf().HandshakeTimeout)
	defer cancel()
	s.up.Keeper.Turn.End() // a handshake has places of its own
	defer s.up.Keeper.Turn.Begin()
	if err := s.account.Hold(handshakeBytes); err != nil {
		return err
	}
	defer s.account.Release(handshakeBytes)
	h := &handshaking{Conn: relay.NewRawTCPConn(s.client.conn), ctx: ctx, account: &s.account, places: *s.proxy.handshakes.Load(), ahead: s.up.HandOver()}
	secure, err := tlsconf.Accept(ctx, h, a.route)
	h.leave()
	h.done = true
	if err != nil {
		return a.handshakeFailed(h, err)
	}
	s.client.stream = secure
	s.up.Connect(secure, nil, nil)
	s.up.Boundary()
	return nil
}

// maxNameShown bounds the part of a name that is kept and logged, in characters. It is the
// longest valid name.
const maxNameShown = 255

// route returns the TLS configuration for a server name. Where names choose the endpoint,
// the session belongs to that endpoint from then on.
func (a *arrival) route(name string) (*tlsconf.Server, error) {
	s := a.s
	s.client.serverName = foreign.LineOf(name, maxNameShown)
	if s.entry.names == nil {
		return a.conf.tls, nil
	}
	e, err := s.entry.names.find(name)
	if err != nil {
		return nil, err
	}
	if refused := a.moveTo(e); refused != "" {
		return nil, end(refused, nil)
	}
	a.conf = e.conf
	return a.conf.tls, nil
}

// handshakeFailed says why the session ends, and lets the client hear it.
func (a *arrival) handshakeFailed(h *handshaking, err error) error {
	failed, ok := errors.AsType[*tlsconf.Error](err)
	refused, isRefused := errors.AsType[*ended](err)
	why := a.s.life.leaving()
	switch {
	case why != nil: // a drain wakes goroutines that wait for a client
		return why
	case isRefused: // by route
		return refused
	case !ok:
		return end(TLSFailed, err)
	case failed.Failure == tlsconf.Ended && !h.heard:
		return end(NoRequest, nil)
	}
	if protocol := foreignHello(err); protocol != wire.NotForeign {
		return foreignProtocol(protocol)
	}
	a.lingerForAlert(failed.Failure)
	return &ended{reason: CloseReason(failed.Failure), err: failed.Err, fix: failed.Advice}
}

// lingerForAlert waits until the client has heard why it is refused. Closing with
// requests unread, which it sends in the belief that it is in, would take the
// alert with it.
func (a *arrival) lingerForAlert(failure tlsconf.Failure) {
	s := a.s
	if failure == tlsconf.Timeout || failure == tlsconf.Ended {
		return
	}
	relay.CloseWrite(s.client.conn)
	if _, err := s.readBy(time.Now().Add(clientLinger)); err == nil {
		_, _ = io.Copy(io.Discard, s.client.conn)
	}
}

// foreignHello returns the protocol of a client that has sent neither a TLS hello nor Kafka.
func foreignHello(err error) wire.Foreign {
	if not, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return wire.RecognizeRefused(not.RecordHeader[:])
	}
	return wire.NotForeign
}
