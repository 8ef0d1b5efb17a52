package proxy

import "time"

// askPark has both pumps end, and the session wait in the lot, if nothing has
// moved and no request has begun by the time that the request pump wakes. It
// alone knows, and it wakes the other. A session that is parked stays so.
//
//	sweep ──askPark──▶ request pump ──▶ response pump ──▶ lot
//	                                                             │ bytes, an end; wake
//	                       both pumps again ◀────────────────────┘
func (s *session) askPark() {
	if !s.proxy.lot.takes(s) {
		return
	}
	s.life.askAt(askPark, s.moved())
	s.wake()
}

// lighten leaves the session with what it cannot do without. No pump runs.
func (s *session) lighten() {
	s.up.Detach()
	s.down.Detach()
	s.account.Release(s.queue.Shrink())
}

// stay clears the deadlines that have woken the pumps. The lot looks for what the session
// is asked meanwhile, once the session is in it.
func (s *session) stay() {
	_, _ = s.readBy(time.Time{}) // a connection that fails is found in the lot
	_ = s.broker.conn.SetReadDeadline(time.Time{})
}
