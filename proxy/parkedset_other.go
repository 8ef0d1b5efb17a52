//go:build !linux

package proxy

import "log/slog"

// On systems other than Linux no session is parked.
type parkedSet struct{ log *slog.Logger }

func (*parkedSet) takes(*session) bool { return false }
func (*parkedSet) park(*session) bool  { return false }
func (*parkedSet) wake(*session)       {}
func (*parkedSet) free()               {}
func (*parkedSet) close()              {}
