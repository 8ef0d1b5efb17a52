//go:build unix

package proxy

import (
	"math"

	"golang.org/x/sys/unix"
)

// fileLimit returns how many files the process may have open; limited is false
// where that cannot be told. Go has raised it to the hard limit by itself.
func fileLimit() (files int, limited bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)), true //nolint:unconvert // FreeBSD's is signed
}
