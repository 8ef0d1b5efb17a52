//go:build !linux

package proxy

import "log/slog"

// On systems other than Linux no session is parked.
type lot struct{ log *slog.Logger }

func (*lot) takes(*session) bool { return false }
func (*lot) park(*session) bool  { return false }
func (*lot) wake(*session)       {}
func (*lot) free()               {}
func (*lot) close()              {}
