package proxy

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// pumpRequests moves requests from the client to the broker until the request loop
// stops, and then does what follows from that. It reports whether the session is to
// be parked.
func (s *session) pumpRequests() (parks bool) {
	s.up.Keeper.Expired = s.woken
	stopped := s.requests()
	for stopped.stop == stopLoginDue {
		if stopped = s.logInAgain(); stopped.stop == readsOn {
			stopped = s.requests()
		}
	}
	s.up.Keeper.Turn.End()
	what := conclusions[stopped.stop]
	if what.notes == notesFirst {
		s.life.note(stopped.why)
	}
	switch what.then {
	case stopResponses:
		s.life.add(parking)
		_ = s.broker.SetReadDeadline(past) // wakes the pump of answers
		return true
	case deliverFirst:
		s.finish(stopped.why, what.silence)
	case closeBoth:
		_ = s.broker.Close()                // nothing more is owed: ends the pump of answers
		_ = s.client.SetWriteDeadline(past) // also where that waits for the client
	case leaveToResponses, logIn:
	}
	return false
}

// requests forwards one request after another, and returns why it has stopped. It
// reads what lies in front of a request's body, and nothing behind.
func (s *session) requests() stopped {
	for {
		s.midRequest = false
		s.up.Boundary()
		if asked := s.life.asks(); asked&(askEnd|askLogin) != 0 {
			switch {
			case asked&askEnd == 0:
				return stopped{stop: stopLoginDue}
			case s.up.Buffered() == 0:
				return stopFor(asked.end())
			default:
				s.up.Exact = true // or a client that never pauses is never between two requests
			}
		}
		if err := s.nextRequest(); err != nil {
			return stopOf(err, s.midRequest || s.up.Buffered() > 0)
		}
	}
}

// nextRequest waits for a request, and forwards it.
func (s *session) nextRequest() error {
	b, err := s.up.Peek(wire.SizeLen)
	if err != nil {
		return err
	}
	s.midRequest = true
	if err := s.proxy.limitOfRequests().check(wire.Size(b)); err != nil {
		return err
	}
	if b, err = s.up.Peek(wire.RequestPrefixLen); err != nil {
		return err
	}
	prefix := wire.ParseRequestPrefix(b)
	s.up.Frames.Add(1)
	s.endpoint.listener.counters.request(prefix.Key, prefix.Version)
	return s.request(prefix)
}

// woken decides what an expired read deadline of the client means. It returns nil if
// the client is read on.
func (s *session) woken(error) error {
	if err := s.interrupted(); err != nil {
		return err
	}
	asked, err := s.readBy(time.Time{})
	if err != nil {
		return &relay.SideError{Reading: true, Err: err}
	}
	if asked != 0 {
		return s.interrupted()
	}
	return nil
}

// interrupted returns a stopped, if the loop has to stop for what it is asked. It
// answers askQuiet.
func (s *session) interrupted() error {
	why := waking{
		asks:     s.life.drop(askQuiet),
		moved:    s.moved(),
		owed:     s.queue.Owed(),
		between:  !s.midRequest && s.up.Buffered() == 0,
		inTokens: s.inTokens,
	}.stop()
	if why.stop == readsOn {
		return nil
	}
	return why
}

// finish ends the session once the answers that are owed have been delivered:
// a broker drops them when it is told first that no more requests come. If they
// are not delivered, whatever was in the way is why the session ended, unless
// that has been noted before. A broker that is silent for longer than silence is
// not waited for; 0 waits for ever.
func (s *session) finish(why *ended, silence time.Duration) {
	if s.up.Flush() != nil {
		return // the pump of answers notices
	}
	if silence > 0 {
		defer s.watchBroker(silence)()
	}
	s.queue.WaitDelivered()
	s.life.note(why)
	relay.CloseWrite(s.broker)
	_ = s.broker.SetReadDeadline(time.Now().Add(brokerLinger)) // fails only if it is closed
}

// watchBroker closes the broker's connection when nothing has come from it for
// that long. The function that it returns ends the watch.
func (s *session) watchBroker(silence time.Duration) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.closeSilentBroker(silence, done) })
	return func() {
		close(done)
		watching.Wait()
	}
}

func (s *session) closeSilentBroker(silence time.Duration, done <-chan struct{}) {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for seen := s.down.Moved(); ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := s.down.Moved()
		if now == seen {
			relay.CloseNow(s.broker) // ends the pump of answers, and so the wait for it
			return
		}
		seen = now
	}
}

// request forwards the request at the front of the pipe, answers it, or says
// why the session must end.
func (s *session) request(p wire.RequestPrefix) error {
	r := inflight.Request{
		CorrelationID: p.CorrelationID,
		Key:           p.Key,
		Version:       p.Version,
		Treatment:     rewrite.TreatmentOf(p.Key, p.Version),
		Read:          time.Since(s.opened),
	}
	frame := wire.SizeLen + int(p.Size)
	l := s.endpoint.listener
	switch decide(p.Key, p.Version, r.Treatment, standing{
		policy:       l.conf.Policy,
		unknownAPIs:  l.rewriter.UnknownAPIs,
		clientUser:   s.user != "",
		kproxyLogsIn: l.cluster.Method != nil,
		ownBroker:    s.to.any,
	}) {
	case respondVersions:
		return s.answer(r, frame, rewrite.AppendUnsupportedAPIVersions(nil))
	case endUnsupported:
		return &ended{
			reason: UnsupportedVersion,
			err:    fmt.Errorf("%s v%d may hold addresses where this build does not look", kmsg.NameForKey(p.Key), p.Version),
			fix:    "the client ignores ApiVersions, or needs a newer kproxy",
		}
	case endUnknown:
		return &ended{
			reason: UnknownAPI,
			err:    fmt.Errorf("api key %d is not known to this build", p.Key),
			fix:    "unknown_apis: pass forwards it unseen, addresses in it included",
		}
	case endRelearn:
		return end(Relearn, nil)
	case refuseAPI:
		return s.refuse(r, frame)
	case refuseLogin:
		return s.refuseLogin(r, frame)
	case refuseRawTokens:
		return s.refuseRawTokens(r, frame)
	case reauthenticate:
		return s.logsInAgain(r, frame)
	case unlessReplica:
		return s.unlessReplica(r, frame)
	case readAcks:
		return s.produce(r, frame)
	case handshakeV0:
		return s.saslHandshake(r, frame)
	default:
		return s.forward(r, frame)
	}
}

// produce forwards a Produce request. One with acks 0 is never answered.
func (s *session) produce(r inflight.Request, frame int) error {
	h, err := readHeader(&s.up)
	if err != nil {
		return err
	}
	for n := h.Len; ; {
		b, err := s.up.Peek(n)
		if err != nil {
			return err
		}
		acks, err := wire.ProduceAcks(b, h, rewrite.FlexibleRequest(r.Key, r.Version))
		if n, err = more(b, err); err != nil {
			return end(BadRequest, err)
		}
		switch {
		case n > 0:
		case acks == 0:
			return s.up.Pass(frame)
		default:
			return s.forward(r, frame)
		}
	}
}

// forward queues r and passes its frame on.
func (s *session) forward(r inflight.Request, frame int) error {
	if _, err := s.push(r); err != nil {
		return err
	}
	err := s.up.Pass(frame)
	if side, ok := errors.AsType[*relay.SideError](err); ok && side.Reading {
		s.queue.Unpush()
	}
	return err
}

// answer answers r in the broker's place, when its turn has come.
func (s *session) answer(r inflight.Request, frame int, payload []byte) error {
	r.Kind = inflight.OwnResponse
	r.Own = append(wire.AppendResponsePrefix(nil, r.CorrelationID, len(payload)), payload...)
	s.up.Keeper.Turn.Leave()
	if err := s.Hold(int64(len(r.Own))); err != nil {
		return err
	}
	mine, err := s.push(r)
	if err != nil {
		return err
	}
	if mine {
		// Nothing is owed, so the pump of answers writes nothing meanwhile.
		err := s.down.Put(r.Own)
		s.Release(int64(len(r.Own)))
		if err != nil {
			return end(ClientReset, err)
		}
	}
	return s.up.Drop(frame)
}

// push queues r, and waits for room where there is none: the client is not read
// meanwhile, which is all the back-pressure it needs. mine is as inflight.push
// says it.
func (s *session) push(r inflight.Request) (mine bool, err error) {
	for {
		wait := s.queue.WaitOne
		if s.TryHold(s.queue.Growth()) {
			full, mine := s.queue.Push(r)
			if !full {
				return mine, nil
			}
			if wait = s.queue.WaitRoom; r.Kind == inflight.OwnResponse {
				wait = s.queue.WaitDelivered
			}
		}
		if err := s.up.Flush(); err != nil {
			return false, err
		}
		s.up.Keeper.Turn.Leave()
		wait()
		if s.queue.IsClosed() {
			return false, &relay.SideError{Err: errAnswersEnded}
		}
	}
}

var errAnswersEnded = errors.New("no answers follow")
