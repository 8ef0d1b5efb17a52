package handover

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// fileUse returns how many files a process may have open, and how many this one has.
func fileUse() (limit, open int, known bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, 0, false
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, 0, false
	}
	return int(min(l.Cur, math.MaxInt32)), len(all), true
}
