//go:build !linux

package proxy

import "log/slog"

// Elsewhere than on Linux nobody is parked.
type lot struct{ log *slog.Logger }

func (*lot) takes(*session) bool { return false }
func (*lot) park(*session) bool  { return false }
func (*lot) wake(*session)       {}
func (*lot) free()               {}
func (*lot) close()              {}
