package proxy

import (
	"errors"
	"sync/atomic"
)

// asks is a set: the requests to the request loop of a session, and the pump that has stopped.
// Its upper bits are a count: the bytes that the session had moved when it was last asked
// whether it is idle, or can be parked.
type asks uint64

const (
	askDrain       asks = 1 << iota // end between two requests: kproxy stops
	askMove                         // end between two requests: the node is at another address, or has none
	askAge                          // end between two requests: the session is older than max_age
	askDisconnect                   // end between two requests: Proxy.Disconnect was called
	askLogin                        // log in at the broker again, between two requests
	askIdle                         // end, if the session is idle
	askPark                         // stop, if the session can be parked
	parking                         // the request loop has stopped, for the session to be parked
	responsesEnded                  // no further response will come

	askEnd   = askDrain | askMove | askAge | askDisconnect
	askQuiet = askIdle | askPark

	askBits = 16 // the count is above them, modulo 2^48
)

// at reports whether the count is that of a session that has moved this many bytes.
func (a asks) at(moved int64) bool { return a>>askBits == asks(moved)<<askBits>>askBits }

// end returns why the session is asked to end; nil: it is not.
func (a asks) end() *ended {
	switch {
	case a&askDrain != 0:
		return end(Drained, nil)
	case a&askMove != 0:
		return end(BrokerMoved, nil)
	case a&askAge != 0:
		return end(MaxAge, nil)
	case a&askDisconnect != 0:
		return end(Disconnected, nil)
	default:
		return nil
	}
}

// lifecycle has the asks of a session, and the reason for its end. It is safe for concurrent
// use.
//
// A goroutine that asks something adds it here first. Then it lets the client's read
// deadline expire, and wakes the session if it is parked (session.wake). The request loop
// sets the deadline first and then looks here (session.readBy). So one of them sees the
// other.
type lifecycle struct {
	set atomic.Uint64 // asks
	why atomic.Pointer[ended]
	// finishing is the reason of a session that only waits until responses are delivered, with
	// limits; nil: it reads the client, or waits without limits.
	finishing atomic.Pointer[ended]
}

// asks returns the current asks.
func (l *lifecycle) asks() asks { return asks(l.set.Load()) }

// add adds an ask to the set, and returns the set before.
func (l *lifecycle) add(ask asks) (before asks) { return asks(l.set.Or(uint64(ask))) }

// drop takes asks out of the set, and returns the set before.
func (l *lifecycle) drop(ask asks) (before asks) { return asks(l.set.And(^uint64(ask))) }

// leave asks the session to end. The first of askEnd stands.
func (l *lifecycle) leave(ask asks) {
	for {
		had := l.set.Load()
		if asks(had)&askEnd != 0 || l.set.CompareAndSwap(had, had|uint64(ask)) {
			return
		}
	}
}

// askAt adds one of askQuiet, for a session that has moved this many bytes. Those of another
// count can no longer hold, and are dropped.
func (l *lifecycle) askAt(ask asks, moved int64) {
	for {
		had := asks(l.set.Load())
		set := had & (1<<askBits - 1)
		if !had.at(moved) {
			set &^= askQuiet
		}
		if l.set.CompareAndSwap(uint64(had), uint64(set|ask|asks(moved)<<askBits)) {
			return
		}
	}
}

// leaving returns why the session is asked to end between two requests; nil: it is not.
func (l *lifecycle) leaving() *ended { return l.asks().end() }

// note keeps why the session ends, unless something else has ended it before. It
// reports whether it does.
func (l *lifecycle) note(err error) (isFirst bool) {
	var why *ended
	if !errors.As(err, &why) {
		why = end(BadRequest, err)
	}
	return l.why.CompareAndSwap(nil, why)
}

// ended returns why the session ends, or nil while it does not.
func (l *lifecycle) ended() *ended { return l.why.Load() }
