package supervisor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// monotonic is the line with the time that systemd compares a reload by: that of its request must be
// before.
func monotonic() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return "MONOTONIC_USEC=0" // every Linux has the clock
	}
	return fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)
}
