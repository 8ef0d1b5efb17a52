//go:build unix

package config

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// mayWrite returns an error if the process may not make files in a directory.
func mayWrite(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}
