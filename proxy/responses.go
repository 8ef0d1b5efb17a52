package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/cluster"
	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// responsePump moves responses from the broker to the client. It belongs to one goroutine,
// which alone uses the stream down while a response is owed. A session has a pump of its own
// for each time between two stays in the parked set.
type responsePump struct {
	s      *session
	down   *relay.Stream
	queue  *inflight.Queue
	walker rewrite.Walker
	// stranger is why the last response that named brokers may not reach the client; nil: it may.
	stranger error
}

func newResponsePump(s *session) *responsePump {
	return &responsePump{s: s, down: &s.down, queue: &s.queue}
}

// run moves responses from the broker to the client until the broker ends
// its side, or something is wrong with a response or a connection. It matches
// each response with the request that it belongs to, and looks into those that can
// hold an address.
func (p *responsePump) run() {
	p.down.Keeper.Expired = p.silent
	err := p.responses()
	if is, ok := errors.AsType[stopped](err); ok && is.stop == stopParked {
		return
	}
	var flushed error
	if side, ok := errors.AsType[*relay.SideError](err); !ok || side.Reading {
		flushed = p.down.Flush() // whole responses in front of what went wrong are the client's
	} // else a write has failed inside a response, and nothing may follow: its error may be one that passes
	if !p.isExpected(err) {
		if why := p.ended(err, flushed); why != nil {
			p.s.life.note(why)
		}
	}
	p.queue.Close()
	p.s.life.add(responsesEnded)
	_ = p.s.broker.conn.Close()                    // ends a request pump that writes
	_ = p.s.client.conn.SetReadDeadline(wait.Past) // and one that reads
}

// isExpected reports whether err is the end of a connection while the request pump only waits
// for responses: its reason stands then. A malformed response is another reason.
func (p *responsePump) isExpected(err error) bool {
	_, isEnd := errors.AsType[*relay.SideError](err)
	return isEnd && p.s.life.finishing.Load() != nil
}

// silent handles an expired read deadline of the broker.
func (p *responsePump) silent(err error) error {
	switch {
	case p.s.life.asks()&parking == 0:
		return err
	case p.down.Buffered() == 0:
		return stopped{stop: stopParked}
	}
	return end(UnexpectedAnswer, errors.New("the broker sent bytes, and no request awaits a response"))
}

// ended says why the response pump ended. Its errors are the broker's,
// or those of writing to the client. Nil leaves that to the request pump: a
// broker that refuses a login may close behind its response, which says more.
func (p *responsePump) ended(err, flushed error) error {
	var side *relay.SideError
	switch {
	case !errors.As(err, &side):
		return err
	case !side.Reading || flushed != nil:
		return end(ClientReset, err)
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
		if p.s.broker.renewal.judges() {
			return nil
		}
		if p.s.broker.renewal.logsIn() {
			return end(BrokerLogin, errLoginCut)
		}
		why := end(BrokerClosed, nil)
		if owed := p.queue.Owed(); owed > 0 {
			why.err = errUnanswered(owed)
		}
		return why
	}
	if errors.Is(err, relay.ErrNoData) {
		return end(BadAnswer, side.Err)
	}
	err = p.s.broker.to.way.TLSReadError(side.Err)
	if fix := cluster.Advice(err); fix != "" {
		return &ended{reason: BrokerRefusedTLS, err: err, fix: fix}
	}
	return end(BrokerReset, err)
}

func errUnanswered(owed int) error { return fmt.Errorf("%d requests have no response", owed) }

// responses forwards one response after another. The error is never nil.
func (p *responsePump) responses() error {
	for {
		if p.down.Buffered() < wire.ResponsePrefixLen {
			if err := p.settle(); err != nil {
				return err
			}
		}
		p.down.Boundary()
		b, err := p.down.Peek(wire.SizeLen)
		if err != nil {
			return err
		}
		r, ok := p.queue.Take()
		switch {
		case !ok:
			return end(UnexpectedAnswer, errors.New("the broker sent a frame that no request asked for"))
		case r.Kind == inflight.OwnResponse:
			err = p.settle()
		case r.Kind == inflight.SASLToken:
			err = p.token(wire.Size(b))
		default:
			err = p.match(r, wire.Size(b))
		}
		if err != nil {
			return err
		}
	}
}

// settle delivers the bytes that have been passed, and the proxy's own responses whose turn
// has come. So the pump holds nothing back while it waits for the broker.
func (p *responsePump) settle() error {
	for {
		if err := p.down.Flush(); err != nil {
			return err
		}
		own := p.queue.Settle()
		if own == nil {
			return nil
		}
		err := p.down.Put(own)
		p.s.account.Release(int64(len(own)))
		if err != nil {
			return err
		}
	}
}

func (p *responsePump) token(size int32) error {
	if size < 0 || size > maxSASLToken {
		return end(BadAnswer, fmt.Errorf("%w of %d bytes", errSASLToken, size))
	}
	return p.down.Pass(wire.SizeLen + int(size))
}

// match forwards the response of size bytes at the front of the pipe, which belongs to r.
func (p *responsePump) match(r inflight.Request, size int32) error {
	if size < wire.MinResponseSize || size > math.MaxInt32-wire.SizeLen { // more may never come; an int of 32 bits has no room for it
		return end(BadAnswer, errFrameSize(size))
	}
	b, err := p.down.Peek(wire.ResponsePrefixLen)
	if err != nil {
		return err
	}
	if got := wire.CorrelationID(b); got != r.CorrelationID {
		return end(UnexpectedAnswer, fmt.Errorf("correlation id %d where %d is next", got, r.CorrelationID))
	}
	if r.Kind == inflight.OwnRequest {
		return p.swallow(wire.SizeLen + int(size))
	}
	l := p.s.endpoint.listener
	l.counters.answered(r.Key, time.Since(p.s.opened)-r.Read)
	if p.down.Frames.Add(1) == 1 {
		l.cluster.NoteAnswer()
	}
	if !p.s.broker.passedLogin.Load() && !isBeforeLogin(r.Key) {
		p.s.broker.passedLogin.Store(true)
	}
	a := response{pump: p, down: p.down, req: r, frame: wire.SizeLen + int(size)}
	if r.Kind == inflight.SASLHandshake {
		return a.handshake()
	}
	switch r.Treatment {
	case rewrite.Head:
		return a.head()
	case rewrite.Whole:
		return a.whole()
	case rewrite.Walk:
		return a.walk()
	case rewrite.Settings:
		return a.settings()
	default:
		return p.down.Pass(a.frame)
	}
}

// isBeforeLogin reports whether a broker that wants a login answers requests with
// this key before there was one.
func isBeforeLogin(key int16) bool { return key == kmsg.ApiVersions.Int16() || isLogin(key) }

// swallow keeps a response to a request of the proxy's own from the client.
func (p *responsePump) swallow(frame int) error {
	if frame > auth.MaxAnswer {
		return end(BadAnswer, errFrameSize(int32(frame)))
	}
	b, err := p.down.Peek(frame)
	if err != nil {
		return err
	}
	r := p.s.broker.renewal
	r.answer = bytes.Clone(b[wire.ResponsePrefixLen:frame])
	r.heard.Store(true)
	return p.down.Drop(frame)
}

// response is one response on its way, at the front of the stream.
type response struct {
	pump  *responsePump
	down  *relay.Stream
	req   inflight.Request
	frame int // its length, size field included
}

// peek returns the first n bytes behind the correlation id, or more, but never
// what lies behind the frame.
func (r response) peek(n int) ([]byte, error) {
	b, err := r.down.Peek(wire.ResponsePrefixLen + n)
	if err != nil {
		return nil, err
	}
	return b[wire.ResponsePrefixLen:min(len(b), r.frame)], nil
}

// replace sends out in place of the first n bytes behind the correlation id,
// under a prefix that fits, and the rest of the frame as it is.
func (r response) replace(n int, out []byte) error {
	payload := r.frame - wire.ResponsePrefixLen
	prefix := wire.AppendResponsePrefix(nil, r.req.CorrelationID, payload-n+len(out))
	if err := r.down.Write(append(prefix, out...)); err != nil {
		return err
	}
	if err := r.down.Drop(wire.ResponsePrefixLen + n); err != nil {
		return err
	}
	return r.down.Pass(payload - n)
}

// whole rewrites a response that is decoded whole.
func (r response) whole() error {
	if r.frame > rewrite.MaxWhole {
		return end(BadAnswer, errFrameSize(int32(r.frame)))
	}
	n := r.frame - wire.ResponsePrefixLen
	payload, err := r.peek(n)
	if err != nil {
		return err
	}
	decoded, err := r.decoding(n)
	if err != nil {
		return err
	}
	defer r.pump.s.account.Release(decoded)
	rewriter := r.rewriter()
	out, notes, err := rewriter.Whole(r.req.Key, r.req.Version, payload)
	if err != nil {
		return end(BadAnswer, err)
	}
	if err := r.rewrote(notes); err != nil {
		return err
	}
	return r.replace(n, out)
}

// decoding counts the memory for decoding n bytes. The caller releases it.
func (r response) decoding(n int) (held int64, err error) {
	if n <= relay.BufferSize {
		return 0, nil
	}
	held = decodeFactor * int64(n)
	return held, r.pump.s.account.Hold(held)
}

// minHead is about the length of the brokers at the front of a Metadata response, in bytes.
const minHead = 256

// head rewrites the addresses in front of a response of any length.
func (r response) head() error {
	total := r.frame - wire.ResponsePrefixLen
	for n := 0; ; {
		payload, err := r.peek(n)
		if err != nil {
			return err
		}
		decoded, err := r.decoding(len(payload))
		if err != nil {
			return err
		}
		rewriter := r.rewriter()
		out, headLen, notes, err := rewriter.Head(r.req.Key, r.req.Version, payload)
		r.pump.s.account.Release(decoded)
		switch {
		case errors.Is(err, wire.ErrShort) && len(payload) < min(total, rewrite.MaxWhole):
			n = min(2*len(payload)+minHead, total) // twice as much, so that it is parsed a few times only
			continue
		case err != nil:
			return end(BadAnswer, err)
		}
		if err := r.rewrote(notes); err != nil {
			return err
		}
		return r.replace(headLen, out)
	}
}

// handshake notes what SaslHandshake v0 says, for the request pump, which
// waits for it.
func (r response) handshake() error {
	payload, err := r.peek(2)
	if err != nil {
		return err
	}
	if len(payload) < 2 {
		return end(BadAnswer, errFrameSize(int32(r.frame)))
	}
	r.pump.queue.SetHandshake(binary.BigEndian.Uint16(payload) == 0)
	return r.down.Pass(r.frame)
}

// rewriter returns what changes the response for this session's client.
func (r response) rewriter() rewrite.Rewriter {
	rewriter := r.pump.s.endpoint.listener.conf().rewriter
	rewriter.Translate = r.pump.translate
	return rewriter
}

// translate learns from the brokers that a response of the session's broker names,
// and names this listener's endpoints to the client instead. A node that has none
// is left out. Every endpoint of the listener is bound from the start, so that the
// client can connect the moment it hears of one.
func (p *responsePump) translate(key int16, brokers rewrite.Brokers) {
	l := p.s.endpoint.listener
	to := p.s.broker.to
	if rewrite.NamesLeaders(key) {
		l.counters.routing.hinted(to.target.Node, brokers.List)
	}
	// After a reload that led elsewhere, the broker may be one of another cluster.
	if to.way.LeadsAs(l.cluster.Way()) || !l.cluster.IsKnown() {
		if err := l.cluster.Learn(context.Background(), key, brokers, to.target); err != nil {
			p.stranger = dialFailure(err)
		}
	}
	l.cluster.Advertise(l.name, brokers.List)
}

// rewrote counts and logs the rewriting of the addresses in the response. The error ends the session, and
// the client does not get the response.
func (r response) rewrote(notes rewrite.Notes) error {
	if err := r.pump.stranger; err != nil {
		return err
	}
	l := r.pump.s.endpoint.listener
	l.rewrote(r.req.Key, notes)
	if notes.Misrouted {
		r.pump.s.misrouted()
	}
	return nil
}
