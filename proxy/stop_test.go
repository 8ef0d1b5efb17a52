package proxy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"kproxy/internal/relay"
)

// The decision of the request loop after an expired deadline. With quiet, nothing has moved
// since it was asked, and no response is outstanding.
func TestWaking(t *testing.T) {
	const moved = 1 << 50 // more than the count holds
	at := func(ask asks, moved int64) asks {
		var l lifecycle
		l.askAt(ask, moved)
		return l.asks()
	}
	for _, c := range []struct {
		name   string
		in     waking
		want   stop
		reason CloseReason
	}{
		{"nothing is asked", waking{between: true}, readsOn, ""},
		{"no response follows", waking{asks: responsesEnded | askDrain, between: true}, stopResponsesEnded, ""},
		{"no response follows, inside a request", waking{asks: responsesEnded}, stopResponsesEnded, ""},
		{"a drain", waking{asks: askDrain, between: true}, stopAsked, Drained},
		{"a drain while responses are owed", waking{asks: askDrain, between: true, owed: 3}, stopAsked, Drained},
		{"a drain inside a request", waking{asks: askDrain}, readsOn, ""},
		{"it is too old", waking{asks: askAge, between: true}, stopAsked, MaxAge},
		{"the broker has moved", waking{asks: askMove, between: true}, stopComeBack, BrokerMoved},
		{"a drain and a login that is due", waking{asks: askDrain | askLogin, between: true}, stopAsked, Drained},
		{"a login is due", waking{asks: askLogin, between: true, owed: 1}, stopLoginDue, ""},
		{"a login is due inside a request", waking{asks: askLogin}, readsOn, ""},
		{"it is idle", waking{asks: at(askIdle, moved), moved: moved, between: true}, stopAsked, IdleTimeout},
		{"idle, but a request is owed", waking{asks: at(askIdle, moved), moved: moved, between: true, owed: 1}, readsOn, ""},
		{"idle, but bytes have moved", waking{asks: at(askIdle, moved), moved: moved + 1, between: true}, readsOn, ""},
		{"idle, but a request has begun", waking{asks: at(askIdle, moved), moved: moved}, readsOn, ""},
		{"idle between raw tokens", waking{asks: at(askIdle, moved), moved: moved, between: true, inTokens: true}, stopAsked, IdleTimeout},
		{"it can be parked", waking{asks: at(askPark, 0), between: true}, stopParked, ""},
		{"parked, but a request is owed", waking{asks: at(askPark, 0), between: true, owed: 1}, readsOn, ""},
		{"parked, but bytes have moved", waking{asks: at(askPark, 0), moved: 1, between: true}, readsOn, ""},
		{"parked, but a request has begun", waking{asks: at(askPark, 0)}, readsOn, ""},
		{"parked, but between raw tokens", waking{asks: at(askPark, 0), between: true, inTokens: true}, readsOn, ""},
		{"a login is due to one that can be parked", waking{asks: at(askPark, 0) | askLogin, between: true}, stopLoginDue, ""},
	} {
		got := c.in.stop()
		var reason CloseReason
		if got.why != nil {
			reason = got.why.reason
		}
		if got.stop != c.want || reason != c.reason {
			t.Errorf("%s: got stop %d, %q, want %d, %q", c.name, got.stop, reason, c.want, c.reason)
		}
	}
}

// An ask about silence holds for the bytes that had moved when it was made, and is answered
// once.
func TestAsksAboutSilence(t *testing.T) {
	var l lifecycle
	l.askAt(askIdle, 5)
	l.askAt(askPark, 5)
	if got := l.asks(); got&askQuiet != askQuiet || !got.at(5) || got.at(6) {
		t.Errorf("both at 5 bytes: got %#x", got)
	}
	l.askAt(askPark, 6)
	if got := l.asks(); got&askQuiet != askPark || !got.at(6) {
		t.Errorf("parking alone at 6 bytes: got %#x", got)
	}
	l.leave(askAge)
	l.leave(askDrain)
	l.add(askLogin)
	if got := l.drop(askQuiet); got&askQuiet != askPark || !got.at(6) {
		t.Errorf("with others beside it: got %#x", got)
	}
	if got := l.asks(); got&(1<<askBits-1) != askAge|askLogin {
		t.Errorf("after it was answered: got %#x", got)
	}
}

// The reasons that the request loop derives from its errors.
func TestStopOf(t *testing.T) {
	read := func(err error) error { return &relay.SideError{Reading: true, Err: err} }
	write := func(err error) error { return &relay.SideError{Err: err} }
	for _, c := range []struct {
		name   string
		err    error
		inside bool
		want   stop
		reason CloseReason
	}{
		{"the client ends its side", read(io.EOF), false, stopClientEnded, ClientClosed},
		{"inside a request", read(io.EOF), true, stopClientEnded, ClientClosed},
		{"the client resets", read(syscall.ECONNRESET), false, stopClientReset, ClientReset},
		{"the client's connection is closed", read(os.ErrClosed), true, stopClientReset, ClientReset},
		{"the response pump has ended", read(os.ErrDeadlineExceeded), false, stopResponsesEnded, ""},
		{"the broker takes no more", write(syscall.EPIPE), true, stopBrokerWrites, ""},
		{"memory is short", write(syscall.ENOBUFS), true, stopCannotWrite, ""},
		{"the queue is closed", write(errResponsesEnded), true, stopBrokerWrites, ""},
		{"a stop that comes out of a read", fmt.Errorf("read: %w", stopped{stop: stopParked}), false, stopParked, ""},
		{"a bad request", end(BadRequest, io.ErrUnexpectedEOF), true, stopFailed, BadRequest},
		{"a request that the broker is the wrong one for", end(Relearn, nil), true, stopComeBack, Relearn},
		{"an error without a reason", errors.New("malformed"), true, stopFailed, BadRequest},
		{"a response of kproxy's own that the client does not take", end(ClientReset, write(syscall.EPIPE)), true, stopFailed, ClientReset},
	} {
		got := stopOf(c.err, c.inside)
		var reason CloseReason
		if got.why != nil {
			reason = got.why.reason
		}
		if got.stop != c.want || reason != c.reason {
			t.Errorf("%s: got stop %d, %q, want %d, %q", c.name, got.stop, reason, c.want, c.reason)
		}
		if c.want == stopClientEnded && (got.why.err != nil) != c.inside {
			t.Errorf("%s: the log says %v", c.name, got.why)
		}
	}
}

// Every stop has its row, and the rows keep the rules for ends: responses that are owed are
// delivered unless the client cannot have them or kproxy ends at once, and a broker that
// owes them has a limit unless something else has one.
func TestConclusions(t *testing.T) {
	for what, want := range map[stop]conclusion{
		stopParked:         {notesNothing, stopResponses, false},
		stopLoginDue:       {notesNothing, logIn, false},
		stopAsked:          {notesLast, deliverFirst, false},
		stopComeBack:       {notesLast, deliverFirst, true},
		stopClientEnded:    {notesLast, deliverFirst, true},
		stopClientReset:    {notesFirst, closeBoth, false},
		stopFailed:         {notesFirst, closeBoth, false},
		stopBrokerWrites:   {notesNothing, leaveToResponses, false},
		stopCannotWrite:    {notesNothing, leaveToResponses, false},
		stopResponsesEnded: {notesNothing, leaveToResponses, false},
	} {
		if got := conclusions[what]; got != want {
			t.Errorf("stop %d: got %+v, want %+v", what, got, want)
		}
	}
	for reason, traits := range traitsOf {
		if got := stopFor(end(reason, nil)).stop; (got == stopAsked) != traits.asked {
			t.Errorf("%s: got stop %d, and asked is %t", reason, got, traits.asked)
		}
	}
}
