package proxy

import "time"

// askPark has both pumps end, and the session wait in the parked set, if nothing has
// moved and no request has begun by the time that the request pump wakes, which
// alone knows that, and wakes the other pump. A session that is parked stays so.
//
//	sweep ──askPark──▶ request pump ──▶ response pump ──▶ parked set
//	                                                       │ bytes, an end; wake
//	                   both pumps again ◀──────────────────┘
func (s *session) askPark() {
	if !s.proxy.parked.takes(s) {
		return
	}
	s.life.askAt(askPark, s.moved())
	s.wake()
}

// lighten frees all memory of the session that it does not need while it is parked. No pump
// runs.
func (s *session) lighten() {
	s.up.Detach()
	s.down.Detach()
	s.account.Release(s.queue.Shrink())
}

// stay clears the deadlines that have woken the pumps. parkedSet.add looks for later asks.
func (s *session) stay() {
	_, _ = s.readBy(time.Time{}) // a connection that fails is found in the parked set
	_ = s.broker.conn.SetReadDeadline(time.Time{})
}
