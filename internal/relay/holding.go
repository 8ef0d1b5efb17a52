package relay

import (
	"net"
	"time"

	"kproxy/internal/turns"
)

// FreeBytes is how many bytes a stream may hold without a limit of time, and how many a session may hold whatever
// the budget says.
const FreeBytes = 4 << 10

// Keeper is the part of a session that its stream needs.
type Keeper struct {
	// Expired is called when a read deadline passes. If it returns nil, the stream reads
	// on; an error replaces the deadline's. Without Expired the read fails.
	Expired func(err error) error
	Holding Holding
	Turn    turns.Turn
}

// Account counts the bytes that kproxy holds for a session.
type Account interface {
	// Hold counts n more bytes. It may wait for room. The error says why the session
	// has to end.
	Hold(n int64) error
	// TryHold counts n more bytes if there is room. It does not wait.
	TryHold(n int64) bool
	// ForceHold counts n more bytes, which are held already.
	ForceHold(n int64)
	// Release counts n bytes less.
	Release(n int64)
	// HoldTimedOut is called when a frame that has to be whole did not come within the
	// limit. The connection that it comes from is closed after that.
	HoldTimedOut(limit time.Duration)
}

// Holding counts the bytes that one stream holds of a frame that has to be whole. From its
// first byte to its last, a holding has a limit of time. One goroutine uses it.
type Holding struct {
	Account Account
	bytes   int64
	Limit   time.Duration
	Source  net.Conn // the connection that the bytes come from; it is closed at the limit
	timer   *time.Timer
}

// Set makes it n bytes. The error is that of Account.Hold.
func (h *Holding) Set(n int64) error {
	if n > h.bytes {
		if err := h.Account.Hold(n - h.bytes); err != nil {
			return err
		}
		h.bytes = n
	}
	if n > FreeBytes && h.timer == nil {
		h.timer = time.AfterFunc(h.Limit, h.expire)
	}
	return nil
}

// force makes it n bytes, whatever the budget says: they are held already.
func (h *Holding) force(n int64) {
	if more := n - h.bytes; more > 0 {
		h.Account.ForceHold(more)
		h.bytes = n
	}
}

// try makes it n bytes if there is room. They have no limit of time: nothing waits for the
// rest of them.
func (h *Holding) try(n int64) bool {
	if n <= h.bytes {
		return true
	}
	if !h.Account.TryHold(n - h.bytes) {
		return false
	}
	h.bytes = n
	return true
}

// whole says that the frame is whole: its limit of time ends. The bytes are held until
// Clear.
func (h *Holding) whole() {
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
}

// Clear releases all of it.
func (h *Holding) Clear() {
	h.whole()
	if h.bytes > 0 {
		h.Account.Release(h.bytes)
		h.bytes = 0
	}
}

func (h *Holding) expire() {
	h.Account.HoldTimedOut(h.Limit)
	CloseNow(h.Source)
}
