package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"kproxy/internal/relay"
)

// stop says why the request loop does not read on: a closed set.
type stop uint8

const (
	readsOn            stop = iota // it does
	stopParked                     // the session is silent, and is to be parked
	stopLoginDue                   // kproxy has to log in at the broker again
	stopAsked                      // kproxy ends the session between two requests
	stopComeBack                   // the client has to come back, to reach another broker
	stopClientEnded                // the client has ended its side
	stopClientReset                // the client's connection broke
	stopFailed                     // a request cannot be forwarded, or kproxy has failed the client in another way
	stopBrokerWrites               // the broker takes no more: its connection has ended
	stopCannotWrite                // a write to the broker has failed, and its connection may be whole: memory was short
	stopResponsesEnded             // no response follows

	stops
)

// stopped is a stop and why the session ends then. It is an error, so that it can come out
// of a read.
type stopped struct {
	stop stop
	why  *ended // nil: the session does not end, or the response pump says why
}

func (s stopped) Error() string {
	if s.why == nil {
		return "the request loop has stopped"
	}
	return s.why.Error()
}

// conclusion is the next step when the request loop has stopped.
type conclusion struct {
	notes moment
	then  step
	// limited says that the wait for the responses has limits (owedSilence, untakenLimit).
	limited bool
}

// moment is when the reason is noted.
type moment uint8

const (
	notesNothing moment = iota // another goroutine does, or the session does not end
	notesFirst                 // before anything else
	notesLast                  // after the responses are delivered, or will not be; see responsePump.isExpected
)

// step is the treatment of the connections.
type step uint8

const (
	leaveToResponses step = iota // the response pump closes both, and says why
	stopResponses                // the response pump stops, too, and both connections stay
	logIn                        // kproxy logs in, and the loop goes on if that succeeds
	deliverFirst                 // the responses that are owed are delivered, then the broker's side ends
	closeBoth                    // both are closed at once
)

// conclusions has every stop.
var conclusions = [stops]conclusion{
	stopParked:   {then: stopResponses},
	stopLoginDue: {then: logIn},
	// A drain has a limit of its own. A session that is only too old may wait for its
	// responses without a limit, if its client is there. The client is not read meanwhile;
	// the sweep finds that it has left (departure).
	stopAsked:          {then: deliverFirst, notes: notesLast},
	stopComeBack:       {then: deliverFirst, notes: notesLast, limited: true},
	stopClientEnded:    {then: deliverFirst, notes: notesLast, limited: true},
	stopClientReset:    {then: closeBoth, notes: notesFirst},
	stopFailed:         {then: closeBoth, notes: notesFirst},
	stopBrokerWrites:   {then: leaveToResponses},
	stopCannotWrite:    {then: leaveToResponses},
	stopResponsesEnded: {then: leaveToResponses},
}

// stopFor returns the stop for a reason that kproxy itself ends a session for.
func stopFor(why *ended) stopped {
	switch {
	case traitsOf[why.reason].asked:
		return stopped{stopAsked, why}
	case why.reason == Relearn, why.reason == BrokerMoved:
		return stopped{stopComeBack, why}
	default:
		return stopped{stopFailed, why}
	}
}

// stopOf returns the stop for an error of the request loop. inside says that the client has
// sent a part of a request that was not forwarded.
func stopOf(err error, inside bool) stopped {
	if is, ok := errors.AsType[stopped](err); ok {
		return is
	}
	if why, ok := errors.AsType[*ended](err); ok {
		return stopFor(why)
	}
	side, ok := errors.AsType[*relay.SideError](err)
	switch {
	case !ok:
		return stopped{stopFailed, end(BadRequest, err)}
	case !side.Reading && isBroken(side):
		return stopped{stop: stopBrokerWrites}
	case !side.Reading:
		return stopped{stop: stopCannotWrite}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return stopped{stop: stopResponsesEnded}
	case errors.Is(err, relay.ErrNoData):
		return stopped{stopFailed, end(TLSFailed, side.Err)}
	case errors.Is(err, io.EOF) && inside:
		return stopped{stopClientEnded, end(ClientClosed, errors.New("inside a request"))}
	case errors.Is(err, io.EOF):
		return stopped{stopClientEnded, end(ClientClosed, nil)}
	default:
		return stopped{stopClientReset, end(ClientReset, side.Err)}
	}
}

// waking has the facts by which the request loop decides after its read deadline has expired.
type waking struct {
	asks     asks
	moved    int64 // bytes, both ways
	owed     int   // responses
	between  bool  // it waits for a request, and has nothing of it
	inTokens bool  // it reads raw SASL tokens
}

// stop decides. A request that has begun is read to its end. Between raw tokens the client
// does not wait for a request, and a response may come that nothing is queued for: such a
// session is not parked.
func (w waking) stop() stopped {
	quiet := w.between && w.owed == 0 && w.asks.at(w.moved)
	switch {
	case w.asks&responsesEnded != 0:
		return stopped{stop: stopResponsesEnded}
	case w.between && w.asks&askEnd != 0:
		return stopFor(w.asks.end())
	case w.between && w.asks&askLogin != 0:
		return stopped{stop: stopLoginDue}
	case quiet && w.asks&askIdle != 0:
		return stopFor(end(IdleTimeout, nil))
	case quiet && w.asks&askPark != 0 && !w.inTokens:
		return stopped{stop: stopParked}
	default:
		return stopped{stop: readsOn}
	}
}

// isBroken reports whether a write has failed because the connection has ended. Then its end comes to the
// reader, too, behind everything that the peer has sent.
func isBroken(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, errResponsesEnded)
}
