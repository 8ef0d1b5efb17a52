package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"

	"kproxy/internal/auth"
	"kproxy/internal/upstream"
)

// DialOutcome says how an attempt to reach a broker went. The set is closed, as
// that of CloseReason is.
type DialOutcome string

// The outcomes.
const (
	OutcomeOK                DialOutcome = "ok"
	OutcomeConnectionRefused DialOutcome = "connection_refused" // nobody listens there
	OutcomeTimeout           DialOutcome = "timeout"            // no answer within connect_timeout, of the name server or the broker
	OutcomeNoSuchHost        DialOutcome = "no_such_host"       // the name does not resolve
	OutcomeUnreachable       DialOutcome = "unreachable"        // there is no route
	OutcomeRefused           DialOutcome = "refused"            // not tried: what may be dialled does not admit the address
	OutcomeLoop              DialOutcome = "loop"               // not tried: the address is the proxy's own
	OutcomeLoginFailed       DialOutcome = "login_failed"       // reached, and the proxy could not log in
	OutcomeCanceled          DialOutcome = "canceled"           // the proxy stops
	OutcomeOther             DialOutcome = "other"              // anything else; the log has it
)

// outcomeOf classifies the error of a dial.
func outcomeOf(err error) DialOutcome {
	if err == nil {
		return OutcomeOK
	}
	if _, isLoop := errors.AsType[*upstream.LoopError](err); isLoop {
		return OutcomeLoop
	}
	if _, isRefused := errors.AsType[*upstream.RefusedError](err); isRefused {
		return OutcomeRefused
	}
	if _, isLogin := errors.AsType[*auth.LoginError](err); isLogin && !errors.Is(err, context.Canceled) {
		return OutcomeLoginFailed
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return OutcomeNoSuchHost
	}
	timed, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), ok && timed.Timeout():
		return OutcomeTimeout
	case errors.Is(err, context.Canceled):
		return OutcomeCanceled
	case errors.Is(err, syscall.ECONNREFUSED):
		return OutcomeConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return OutcomeUnreachable
	default:
		return OutcomeOther
	}
}
