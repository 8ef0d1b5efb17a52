//go:build !linux

package upstream

import (
	"net/netip"
	"syscall"
)

// connectNow is for Linux: elsewhere package net connects alone.
func connectNow(syscall.RawConn, netip.AddrPort) error { return nil }
