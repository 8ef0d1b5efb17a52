package proxy

import "time"

// mark is a point in time in 8 bytes, where a time.Time takes 24: a session has half a
// dozen, and there are many sessions.
type mark time.Duration

// never is the mark of what has not happened.
const never mark = 0

var epoch = time.Now()

func markOf(t time.Time) mark { return mark(t.Sub(epoch)) }

func markNow() mark { return mark(time.Since(epoch)) }

// age is how long ago m was; less than 0: it is still to come.
func (m mark) age(now time.Time) time.Duration { return now.Sub(epoch) - time.Duration(m) }
