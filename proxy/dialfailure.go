package proxy

import (
	"errors"

	"kproxy/internal/auth"
	"kproxy/internal/cluster"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
)

// dialFailure returns why a session ends whose broker cannot be reached.
func dialFailure(err error) *ended {
	if _, isLoop := errors.AsType[*upstream.LoopError](err); isLoop {
		return &ended{reason: Loop, err: err, fix: "add a dial rule that leads to the broker itself"}
	}
	if refused, isRefused := errors.AsType[*upstream.RefusedError](err); isRefused {
		return &ended{reason: DialRefused, err: err, fix: refused.Fix}
	}
	if through, isVia := errors.AsType[*via.Error](err); isVia {
		return &ended{reason: DialFailed, err: err, fix: cluster.ViaFix(through)}
	}
	if fix := cluster.Advice(err); fix != "" {
		return &ended{reason: DialFailed, err: err, fix: fix}
	}
	if login, isLogin := errors.AsType[*auth.LoginError](err); isLogin {
		return loginFailure(login)
	}
	return &ended{
		reason: DialFailed,
		err:    err,
		fix:    "if the broker runs, add a dial rule from its advertised name to an address that works from here",
	}
}

func loginFailure(err *auth.LoginError) *ended {
	return &ended{reason: BrokerLogin, err: err, fix: err.Fix}
}
