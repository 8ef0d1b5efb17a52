package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/cluster"
	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// pumpAnswers moves answers from the broker to the client until the broker ends
// its side, or something is wrong with an answer or a connection. It matches
// each answer with the request that it belongs to, and looks into those that can
// hold an address.
func (s *session) pumpAnswers() {
	s.down.Keeper.Expired = s.silent
	err := s.answers()
	if is, ok := errors.AsType[stopped](err); ok && is.stop == stopParked {
		return
	}
	flushed := s.down.Flush() // whole answers in front of what went wrong are the client's
	if why := s.answersEnded(err, flushed); why != nil {
		s.life.note(why)
	}
	s.queue.Close()
	s.life.add(responsesEnded)
	_ = s.broker.Close()               // ends a pump of requests that writes
	_ = s.client.SetReadDeadline(past) // and one that reads
}

// silent decides what an expired read deadline of the broker means.
func (s *session) silent(err error) error {
	switch {
	case s.life.asks()&parking == 0:
		return err
	case s.down.Buffered() == 0:
		return stopped{stop: stopParked}
	}
	// It has just sent a frame that no request asked for, or a part of one.
	if err := s.broker.SetReadDeadline(time.Time{}); err != nil {
		return &relay.SideError{Reading: true, Err: err}
	}
	return nil
}

// answersEnded says why the pump of answers ended. Its errors are the broker's,
// or those of writing to the client. Nil leaves that to the pump of requests: a
// broker that refuses a login may close behind its answer, which says more.
func (s *session) answersEnded(err, flushed error) error {
	var side *relay.SideError
	switch {
	case !errors.As(err, &side):
		return err
	case !side.Reading || flushed != nil:
		return end(ClientReset, err)
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
		if s.renewal.judges() {
			return nil
		}
		if s.renewal.logsIn() {
			return end(BrokerLogin, errLoginCut)
		}
		why := end(BrokerClosed, nil)
		if owed := s.queue.Owed(); owed > 0 {
			why.err = errUnanswered(owed)
		}
		return why
	}
	err = s.endpoint.listener.cluster.TLSReadError(side.Err)
	if fix := cluster.Advice(err); fix != "" {
		return &ended{reason: BrokerRefusedTLS, err: err, fix: fix}
	}
	return end(BrokerReset, err)
}

func errUnanswered(owed int) error { return fmt.Errorf("%d requests have no answer", owed) }

// answers forwards one answer after another. The error is never nil.
func (s *session) answers() error {
	for {
		if s.down.Buffered() < wire.ResponsePrefixLen {
			if err := s.settle(); err != nil {
				return err
			}
		}
		s.down.Boundary()
		b, err := s.down.Peek(wire.SizeLen)
		if err != nil {
			return err
		}
		r, ok := s.queue.Take()
		switch {
		case !ok:
			return end(UnexpectedAnswer, errors.New("the broker sent a frame that no request asked for"))
		case r.Kind == inflight.OwnResponse:
			err = s.settle()
		case r.Kind == inflight.SASLToken:
			err = s.token(wire.Size(b))
		default:
			err = s.match(r)
		}
		if err != nil {
			return err
		}
	}
}

// settle delivers what has been passed, and the answers of the proxy's own whose
// turn has come. Before the pump waits for the broker it holds nothing back.
func (s *session) settle() error {
	for {
		if err := s.down.Flush(); err != nil {
			return err
		}
		own := s.queue.Settle()
		if own == nil {
			return nil
		}
		err := s.down.Put(own)
		s.Release(int64(len(own)))
		if err != nil {
			return err
		}
	}
}

func (s *session) token(size int32) error {
	if size < 0 || size > maxSASLToken {
		return end(BadAnswer, fmt.Errorf("%w of %d bytes", errSASLToken, size))
	}
	return s.down.Pass(wire.SizeLen + int(size))
}

// match forwards the answer at the front of the pipe, which belongs to r.
func (s *session) match(r inflight.Request) error {
	b, err := s.down.Peek(wire.ResponsePrefixLen)
	if err != nil {
		return err
	}
	size := wire.Size(b)
	if size < wire.MinResponseSize {
		return end(BadAnswer, errFrameSize(size))
	}
	if got := wire.CorrelationID(b); got != r.CorrelationID {
		return end(UnexpectedAnswer, fmt.Errorf("correlation id %d where %d is next", got, r.CorrelationID))
	}
	if r.Kind == inflight.OwnRequest {
		return s.swallow(wire.SizeLen + int(size))
	}
	l := s.endpoint.listener
	l.counters.answered(r.Key, time.Since(s.opened)-r.Read)
	if s.down.Frames.Add(1) == 1 {
		l.cluster.NoteAnswer()
	}
	if !s.passedLogin.Load() && !isBeforeLogin(r.Key) {
		s.passedLogin.Store(true)
	}
	a := answer{session: s, req: r, frame: wire.SizeLen + int(size)}
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
		return s.down.Pass(a.frame)
	}
}

// isBeforeLogin reports whether a broker that wants a login answers requests with
// this key before there was one.
func isBeforeLogin(key int16) bool { return key == kmsg.ApiVersions.Int16() || isLogin(key) }

// answer is one answer on its way, at the front of the pipe of answers.
type answer struct {
	*session
	req   inflight.Request
	frame int // its length, size field included
}

// peek returns the first n bytes behind the correlation id, or more, but never
// what lies behind the frame.
func (a answer) peek(n int) ([]byte, error) {
	b, err := a.down.Peek(wire.ResponsePrefixLen + n)
	if err != nil {
		return nil, err
	}
	return b[wire.ResponsePrefixLen:min(len(b), a.frame)], nil
}

// replace sends out in place of the first n bytes behind the correlation id,
// under a prefix that fits, and the rest of the frame as it is.
func (a answer) replace(n int, out []byte) error {
	payload := a.frame - wire.ResponsePrefixLen
	prefix := wire.AppendResponsePrefix(nil, a.req.CorrelationID, payload-n+len(out))
	if err := a.down.Write(append(prefix, out...)); err != nil {
		return err
	}
	if err := a.down.Drop(wire.ResponsePrefixLen + n); err != nil {
		return err
	}
	return a.down.Pass(payload - n)
}

// whole rewrites an answer that is decoded whole.
func (a answer) whole() error {
	if a.frame > rewrite.MaxWhole {
		return end(BadAnswer, errFrameSize(int32(a.frame)))
	}
	n := a.frame - wire.ResponsePrefixLen
	payload, err := a.peek(n)
	if err != nil {
		return err
	}
	decoded, err := a.decoding(n)
	if err != nil {
		return err
	}
	defer a.Release(decoded)
	r := a.rewriter()
	out, notes, err := r.Whole(a.req.Key, a.req.Version, payload)
	if err != nil {
		return end(BadAnswer, err)
	}
	a.rewrote(a.req, notes)
	return a.replace(n, out)
}

// decoding counts what it takes to decode n bytes; the caller releases it.
func (a answer) decoding(n int) (held int64, err error) {
	if n <= relay.BufferSize {
		return 0, nil
	}
	held = decodeFactor * int64(n)
	return held, a.Hold(held)
}

// minHead is about what the brokers in front of a Metadata answer take, in bytes.
const minHead = 256

// head rewrites the addresses in front of an answer of any length.
func (a answer) head() error {
	total := a.frame - wire.ResponsePrefixLen
	for n := 0; ; {
		payload, err := a.peek(n)
		if err != nil {
			return err
		}
		decoded, err := a.decoding(len(payload))
		if err != nil {
			return err
		}
		r := a.rewriter()
		out, headLen, notes, err := r.Head(a.req.Key, a.req.Version, payload)
		a.Release(decoded)
		switch {
		case errors.Is(err, wire.ErrShort) && len(payload) < min(total, rewrite.MaxWhole):
			n = min(2*len(payload)+minHead, total) // twice as much, so that it is parsed a few times only
			continue
		case err != nil:
			return end(BadAnswer, err)
		}
		a.rewrote(a.req, notes)
		return a.replace(headLen, out)
	}
}

// handshake notes what SaslHandshake v0 says, for the pump of requests, which
// waits for it.
func (a answer) handshake() error {
	payload, err := a.peek(2)
	if err != nil {
		return err
	}
	if len(payload) < 2 {
		return end(BadAnswer, errFrameSize(int32(a.frame)))
	}
	a.queue.SetHandshake(binary.BigEndian.Uint16(payload) == 0)
	return a.down.Pass(a.frame)
}
