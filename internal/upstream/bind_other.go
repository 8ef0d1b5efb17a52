//go:build !linux

package upstream

import "syscall"

// bindLate is for Linux, which alone has the option.
func bindLate(syscall.RawConn) error { return nil }
