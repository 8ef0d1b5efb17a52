//go:build unix

package admission

import (
	"math"

	"golang.org/x/sys/unix"
)

// FileLimit returns how many files the process may have open. limited is false if that is
// not known. Go has raised the soft limit to the hard one.
func FileLimit() (files int, limited bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)), true //nolint:unconvert // FreeBSD's is signed
}
