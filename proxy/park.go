package proxy

import (
	"errors"
	"time"
)

// errParked ends a pump whose session is to be parked.
var errParked = errors.New("parked")

// askPark has both pumps end, and the session wait in the lot, if nothing has
// moved and no request has begun by the time that the pump of requests wakes. It
// alone knows, and it wakes the other. A session that is parked stays so.
//
//	sweep ──askPark──▶ pump of requests ──▶ pump of answers ──▶ lot
//	                                                             │ bytes, an end; wake
//	                       both pumps again ◀────────────────────┘
func (s *session) askPark() {
	if !s.proxy.lot.takes(s) {
		return
	}
	s.parkAt.Store(s.moved() + 1)
	s.wake()
}

// canPark answers askPark. Between raw SASL tokens it is not a request that is waited
// for, and behind one that is not a frame comes an answer that nothing is queued for.
func (s *session) canPark() bool {
	asked := s.parkAt.Swap(0)
	return asked == s.moved()+1 && s.queue.Owed() == 0 && !s.inTokens
}

// lighten leaves the session with what it cannot do without. No pump runs.
func (s *session) lighten() {
	s.up.Detach()
	s.down.Detach()
	s.Release(s.queue.Shrink())
}

// stay clears the deadlines that have woken the pumps.
func (s *session) stay() {
	_ = s.client.SetReadDeadline(time.Time{}) // a connection that fails is found in the lot
	_ = s.broker.SetReadDeadline(time.Time{})
}
