//go:build e2e && linux

package kubernetes

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// during acts, and logs the pauses and handshakes of the clients. Afterwards each client sends and reads a record.
func (c *crowd) during(t *testing.T, what string, act func() error) effect {
	t.Helper()
	c.mu.Lock()
	c.phase = what
	c.mu.Unlock()
	began := c.recorder.Now()
	if err := act(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	took := c.recorder.Now() - began
	if err := c.flows(t.Context(), 1); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	e := c.effect(began)
	t.Logf("| %s | %.0f s | %s |", what, took.Seconds(), e)
	if longest := max(e.waits[crowdSize-1], e.lags[crowdSize-1]); longest > patience {
		t.Errorf("%s: a record took %v", what, longest)
	}
	return e
}

// effect are pauses and handshakes of the clients.
type effect struct {
	records          int
	waits, lags      []time.Duration // the longest of each client, ascending
	handshakes, most int             // in all, and in one second
}

// effect since a time.
func (c *crowd) effect(began time.Duration) effect {
	var e effect
	for _, m := range c.members {
		m.mu.Lock()
		n, wait := longest(m.waits, began)
		_, lag := longest(m.lags, began)
		m.mu.Unlock()
		e.records += n
		e.waits = append(e.waits, wait)
		e.lags = append(e.lags, lag)
	}
	slices.Sort(e.waits)
	slices.Sort(e.lags)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range c.handshakes {
		if at < began {
			continue
		}
		e.handshakes++
		// Handshakes are in the order of their ends.
		n := 1
		for j := i + 1; j < len(c.handshakes) && c.handshakes[j] < at+time.Second; j++ {
			n++
		}
		e.most = max(e.most, n)
	}
	return e
}

// longest is the number of records that were under way since a time, and the longest that one took.
func longest(waits []wait, began time.Duration) (n int, longest time.Duration) {
	for i := len(waits) - 1; i >= 0 && waits[i].from+waits[i].took > began; i-- {
		n++
		longest = max(longest, waits[i].took)
	}
	return n, longest
}

// String has the columns of the table in docs/kubernetes.md.
func (e effect) String() string {
	at := func(all []time.Duration, percent int) string {
		return fmt.Sprintf("%.2f s", all[(len(all)-1)*percent/100].Seconds())
	}
	return fmt.Sprintf("%d | %s | %s | %s | %s | %d | %d", e.records, at(e.waits, 50), at(e.waits, 99), at(e.waits, 100), at(e.lags, 100), e.handshakes, e.most)
}
