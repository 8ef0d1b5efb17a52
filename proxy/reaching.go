package proxy

import (
	"context"
	"errors"
	"time"

	"kproxy/internal/mark"
	"kproxy/internal/relay"
)

// endedLimit is how long kproxy still reaches a broker for a client that has ended its side. A
// client that has closed its connection looks the same, and a broker would close the
// connection at once; but a client may have sent requests without a response (acks=0) before.
const endedLimit = 5 * time.Second

// reaching is the time in which kproxy reaches the broker of a session. The client is not read
// meanwhile, so that nothing but the sweep finds that it has left, and a deadline in the past
// wakes no goroutine.
type reaching struct {
	cancel context.CancelCauseFunc
	ended  mark.Mark // the sweep's: the first look at a client that has ended its side
}

// reach returns a context that ends, with an *ended as its cause, when the session is asked to
// end, has been ended, or its client leaves. The caller calls done.
func (s *session) reach(ctx context.Context) (reaches context.Context, done func()) {
	reaches, cancel := context.WithCancelCause(ctx)
	s.reaching.Store(&reaching{cancel: cancel})
	if why := s.life.leaving(); why != nil { // before the context was there
		s.stopReaching(why)
	}
	if why := s.life.ended(); why != nil {
		s.stopReaching(why)
	}
	return reaches, func() {
		s.reaching.Store(nil)
		cancel(nil)
	}
}

// stopReaching ends the context of reach, if the session has one.
func (s *session) stopReaching(why *ended) {
	if r := s.reaching.Load(); r != nil {
		r.cancel(why)
	}
}

// stoppedReaching returns why the context of reach has ended; nil: it has not, or the proxy
// stops.
func stoppedReaching(ctx context.Context) *ended {
	why, _ := errors.AsType[*ended](context.Cause(ctx))
	return why
}

// sweepReaching has kproxy give up a broker whose client has left.
func (s *session) sweepReaching(now time.Time) {
	r := s.reaching.Load()
	if r == nil {
		return
	}
	if t, ok := transportOf(relay.SocketOf(s.client.conn)); ok {
		if why := r.look(now, t); why != nil {
			r.cancel(why)
		}
	}
}

// look takes the state of the client's connection at one look, and returns why the session
// ends; nil: the client is there.
func (r *reaching) look(now time.Time, t transport) *ended {
	switch {
	case t.closed:
		return end(ClientReset, errLeftEarly)
	case !t.ended:
		r.ended = mark.Never
	case r.ended == mark.Never:
		r.ended = mark.Of(now)
	case r.ended.Age(now) >= endedLimit:
		return end(ClientClosed, errLeftEarly)
	}
	return nil
}

var errLeftEarly = errors.New("before a broker was reached")
