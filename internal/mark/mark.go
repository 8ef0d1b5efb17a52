// Package mark has points in time in 8 bytes; a time.Time takes 24. A session has half a
// dozen of them, and there are many sessions.
package mark

import "time"

// Mark is a point in time of this process, on the monotonic clock.
type Mark time.Duration

// Never is the mark of an event that has not happened.
const Never Mark = 0

var epoch = time.Now()

// Of returns the mark of t.
func Of(t time.Time) Mark { return Mark(t.Sub(epoch)) }

// Now returns the mark of the present.
func Now() Mark { return Mark(time.Since(epoch)) }

// Age is the time from m to now. It is negative if m is in the future.
func (m Mark) Age(now time.Time) time.Duration { return now.Sub(epoch) - time.Duration(m) }
