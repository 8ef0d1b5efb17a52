//go:build linux

package workload

import (
	"testing"
	"time"
)

// An interruption between the readings of the two clocks does not shift the program's events.
func TestOriginOf(t *testing.T) {
	var now time.Duration // of the history, which began at an hour by the clock
	readings := 0
	read := func() time.Duration {
		now += time.Microsecond
		if readings++; readings == 3 { // behind the first reading of the other clock
			now += 5 * time.Millisecond
		}
		return now
	}
	got, err := originOf(read, func() (time.Duration, error) { return time.Hour + read(), nil })
	if off := (got - time.Hour).Abs(); err != nil || off > maxSkew {
		t.Errorf("got %v, %v, which is off by %v", got, err, off)
	}
}
