//go:build unix

package proxy

import (
	"io/fs"
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

// mayWrite returns an error if the process may not make files in a directory.
func mayWrite(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}
