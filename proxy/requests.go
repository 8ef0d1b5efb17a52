package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// requestPump moves requests from the client to the broker. It belongs to one goroutine,
// which alone uses the stream up. A session has a pump of its own for each time between two
// stays in the parked set.
type requestPump struct {
	s     *session
	up    *relay.Stream
	queue *inflight.Queue

	midRequest bool // it has begun to read a request
	inTokens   bool // it reads raw SASL tokens
}

func newRequestPump(s *session) *requestPump { return &requestPump{s: s, up: &s.up, queue: &s.queue} }

// run moves requests from the client to the broker until the request loop
// stops, and then takes the next step. It reports whether the session is to
// be parked.
func (p *requestPump) run() (parks bool) {
	p.up.Keeper.Expired = p.woken
	stopped := p.requests()
	for conclusions[stopped.stop].then == logIn {
		if stopped = p.reauthenticate(); stopped.stop == readsOn {
			stopped = p.requests()
		}
	}
	p.up.Keeper.Turn.End()
	what := conclusions[stopped.stop]
	if what.notes == notesFirst {
		p.s.life.note(stopped.why)
	}
	switch what.then {
	case stopResponses:
		p.s.life.add(parking)
		_ = p.s.broker.conn.SetReadDeadline(wait.Past) // wakes the response pump
		return true
	case deliverFirst:
		p.finish(stopped.why, what)
	case closeBoth:
		_ = p.s.broker.conn.Close()                     // nothing more is owed: ends the response pump
		_ = p.s.client.conn.SetWriteDeadline(wait.Past) // also where that waits for the client
	case leaveToResponses:
		switch stopped.stop {
		case stopBrokerWrites:
			relay.CloseWriteAfterError(p.s.broker.conn) // if it is whole after all, the broker ends its side
		case stopCannotWrite:
			p.endBrokerSide()
		default:
		}
	case logIn:
	}
	return false
}

// endBrokerSide ends the proxy's side at the broker, and bounds the wait for the broker's.
func (p *requestPump) endBrokerSide() {
	relay.CloseWrite(p.s.broker.conn)
	_ = p.s.broker.conn.SetReadDeadline(time.Now().Add(brokerLinger)) // fails only if it is closed
}

// requests forwards one request after another, and returns why it has stopped. It
// reads what lies in front of a request's body, and nothing behind.
func (p *requestPump) requests() stopped {
	for {
		p.midRequest = false
		p.up.Boundary()
		if asked := p.s.life.asks(); asked&(askEnd|askLogin) != 0 {
			switch {
			case asked&askEnd == 0:
				return stopped{stop: stopLoginDue}
			case p.up.Buffered() == 0:
				return stopFor(asked.end())
			default:
				p.up.Exact = true // or a client that never pauses is never between two requests
			}
		}
		if err := p.nextRequest(); err != nil {
			return stopOf(err, p.midRequest || p.up.Buffered() > 0)
		}
	}
}

// nextRequest waits for a request, and forwards it.
func (p *requestPump) nextRequest() error {
	b, err := p.up.Peek(wire.SizeLen)
	if err != nil {
		return err
	}
	p.midRequest = true
	if err := p.s.proxy.limitOfRequests().check(wire.Size(b)); err != nil {
		return err
	}
	if b, err = p.up.Peek(wire.RequestPrefixLen); err != nil {
		return err
	}
	prefix := wire.ParseRequestPrefix(b)
	p.up.Frames.Add(1)
	p.s.endpoint.listener.counters.request(prefix.Key, prefix.Version)
	return p.request(prefix)
}

// woken handles an expired read deadline of the client. It returns nil if reading goes on.
func (p *requestPump) woken(error) error {
	if err := p.interrupted(); err != nil {
		return err
	}
	asked, err := p.s.readBy(time.Time{})
	if err != nil {
		return &relay.SideError{Reading: true, Err: err}
	}
	if asked != 0 {
		return p.interrupted()
	}
	return nil
}

// interrupted returns a stopped if one of the asks stops the loop. It drops askQuiet: the next
// sweep asks again.
func (p *requestPump) interrupted() error {
	why := waking{
		asks:     p.s.life.drop(askQuiet),
		moved:    p.s.moved(),
		owed:     p.queue.Owed(),
		between:  !p.midRequest && p.up.Buffered() == 0,
		inTokens: p.inTokens,
	}.stop()
	if why.stop == readsOn {
		return nil
	}
	return why
}

// finish ends the session once the outstanding responses have been delivered:
// a broker drops them if the proxy ends its side of the connection first. If they are not
// delivered, and no other reason was noted before, the reason says how many are missing. If
// what.limited is set, the sweep ends a wait that takes too long (lookForDeparture).
func (p *requestPump) finish(why *ended, what conclusion) {
	if what.limited {
		p.s.life.finishing.Store(why)
	}
	if err := p.up.Flush(); isBroken(err) {
		relay.CloseWriteAfterError(p.s.broker.conn)
	} else if err != nil {
		p.endBrokerSide() // else the response pump might wait for responses that cannot come
	}
	p.queue.WaitDelivered()
	if owed := p.queue.Owed(); owed > 0 {
		why = why.with(errUnanswered(owed))
	}
	p.s.life.note(why)
	p.endBrokerSide()
}

// request forwards the request at the front of the pipe, answers it, or says
// why the session must end.
func (p *requestPump) request(prefix wire.RequestPrefix) error {
	r := inflight.Request{
		CorrelationID: prefix.CorrelationID,
		Key:           prefix.Key,
		Version:       prefix.Version,
		Treatment:     rewrite.TreatmentOf(prefix.Key, prefix.Version),
		Read:          time.Since(p.s.opened),
	}
	frame := wire.SizeLen + int(prefix.Size)
	conf := p.s.endpoint.listener.conf()
	switch decide(prefix.Key, prefix.Version, r.Treatment, standing{
		policy:       conf.Policy,
		unknownAPIs:  conf.rewriter.UnknownAPIs,
		clientUser:   p.s.client.user != "",
		kproxyLogsIn: p.s.broker.to.way.Method() != nil,
		ownBroker:    p.s.broker.to.ownBroker,
	}) {
	case respondVersions:
		return p.respond(r, frame, rewrite.AppendUnsupportedAPIVersions(nil))
	case endUnsupported:
		return &ended{
			reason: UnsupportedVersion,
			err:    fmt.Errorf("%s v%d may hold addresses where this build does not look", kmsg.NameForKey(prefix.Key), prefix.Version),
			fix:    "the client ignores ApiVersions, or needs a newer kproxy",
		}
	case endUnknown:
		return &ended{
			reason: UnknownAPI,
			err:    fmt.Errorf("api key %d is not known to this build", prefix.Key),
			fix:    "unknown_apis: pass forwards it unseen, addresses in it included",
		}
	case endRelearn:
		return end(Relearn, nil)
	case refuseAPI:
		p.refused(prefix.Key, prefix.Version)
		return p.refuse(r, frame)
	case refuseLogin:
		return p.refuseLogin(r, frame)
	case refuseRawTokens:
		return p.refuseRawTokens(r, frame)
	case reauthenticate:
		return p.reauthenticateClient(r, frame)
	case unlessReplica:
		return p.unlessReplica(r, frame)
	case readAcks:
		return p.produce(r, frame)
	case readSoftware:
		return p.versions(r, frame)
	case handshakeV0:
		return p.saslHandshake(r, frame)
	default:
		return p.forward(r, frame)
	}
}

// produce forwards a Produce request. One with acks 0 is never answered.
func (p *requestPump) produce(r inflight.Request, frame int) error {
	h, err := readHeader(p.up)
	if err != nil {
		return err
	}
	for n := h.Len; ; {
		b, err := p.up.Peek(n)
		if err != nil {
			return err
		}
		acks, err := wire.ProduceAcks(b, h, rewrite.FlexibleRequest(r.Key, r.Version))
		if n, err = more(b, h.Size, err); err != nil {
			return end(BadRequest, err)
		}
		switch {
		case n > 0:
		case acks == 0:
			return p.up.Pass(frame)
		default:
			return p.forward(r, frame)
		}
	}
}

// maxSoftwareLen is how many bytes of an ApiVersions request are searched for the client's software.
const maxSoftwareLen = 4 * maxSoftware

// versions forwards an ApiVersions request, and notes the client's software. That is only for show: a
// body that is malformed, or long, goes to the broker all the same.
func (p *requestPump) versions(r inflight.Request, frame int) error {
	h, err := readHeader(p.up)
	if err != nil {
		return err
	}
	for n := h.Len; ; {
		b, err := p.up.Peek(n)
		if err != nil {
			return err
		}
		name, version, err := wire.ClientSoftware(b, h)
		if n, err = more(b, h.Size, err); n > 0 && len(b) < h.Len+maxSoftwareLen {
			n = min(n, h.Len+maxSoftwareLen)
			continue
		}
		if n == 0 && err == nil {
			p.s.proxy.noteSoftware(p.s, name, version)
		}
		return p.forward(r, frame)
	}
}

// forward queues r and passes its frame on.
func (p *requestPump) forward(r inflight.Request, frame int) error {
	if _, err := p.push(r); err != nil {
		return err
	}
	err := p.up.Pass(frame)
	if side, ok := errors.AsType[*relay.SideError](err); ok && side.Reading {
		p.queue.Unpush()
	}
	return err
}

// respond answers r in the broker's place, when its turn has come.
func (p *requestPump) respond(r inflight.Request, frame int, payload []byte) error {
	r.Kind = inflight.OwnResponse
	r.Own = append(wire.AppendResponsePrefix(nil, r.CorrelationID, len(payload)), payload...)
	p.up.Keeper.Turn.Leave()
	if err := p.s.account.Hold(int64(len(r.Own))); err != nil {
		return err
	}
	mine, err := p.push(r)
	if err != nil {
		return err
	}
	if mine {
		// Nothing is owed, so the response pump writes nothing meanwhile.
		err := p.s.down.Put(r.Own)
		p.s.account.Release(int64(len(r.Own)))
		if err != nil {
			return end(ClientReset, err)
		}
	}
	return p.up.Drop(frame)
}

// push queues r, and waits for room where there is none: the client is not read
// meanwhile, which is all the back-pressure it needs. mine is that of
// Queue.Push.
func (p *requestPump) push(r inflight.Request) (mine bool, err error) {
	for {
		wait := p.queue.WaitOne
		held, growth := p.queue.Held(), p.queue.Growth()
		if p.s.account.TryHold(growth) {
			full, mine := p.queue.Push(r)
			if spare := growth - (p.queue.Held() - held); spare > 0 { // responses have made room meanwhile
				p.s.account.Release(spare)
			}
			if !full {
				return mine, nil
			}
			if wait = p.queue.WaitRoom; r.Kind == inflight.OwnResponse {
				wait = p.queue.WaitDelivered
			}
		}
		if err := p.up.Flush(); err != nil {
			return false, err
		}
		p.up.Keeper.Turn.Leave()
		wait()
		if p.queue.IsClosed() {
			return false, &relay.SideError{Err: errResponsesEnded}
		}
	}
}

var errResponsesEnded = errors.New("no responses follow")
