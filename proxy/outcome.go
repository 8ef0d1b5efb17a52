package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"

	"kproxy/internal/auth"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
)

// DialOutcome says how an attempt to reach a broker went. The set is closed, as
// that of CloseReason is: the outcomes here, and those of a TLS handshake that
// failed, which are the words of tlsconf.Failure.
type DialOutcome string

// The outcomes.
const (
	OutcomeOK                DialOutcome = "ok"
	OutcomeConnectionRefused DialOutcome = "connection_refused" // nothing listens there
	OutcomeTimeout           DialOutcome = "timeout"            // no answer within connect_timeout, of the name server or the broker
	OutcomeNoSuchHost        DialOutcome = "no_such_host"       // the name does not resolve
	OutcomeUnreachable       DialOutcome = "unreachable"        // there is no route
	OutcomeRefused           DialOutcome = "refused"            // not tried: what may be dialled does not admit the address
	OutcomeLoop              DialOutcome = "loop"               // not tried: the address is the proxy's own
	OutcomeLoginFailed       DialOutcome = "login_failed"       // reached, and the proxy could not log in
	OutcomeCanceled          DialOutcome = "canceled"           // the proxy stops
	OutcomeOther             DialOutcome = "other"              // anything else; the log has it

	// The way through a via: which hop failed.
	OutcomeViaCredentials       = DialOutcome(via.OutcomeCredentials)
	OutcomeViaProxyUnreachable  = DialOutcome(via.OutcomeProxyUnreachable)
	OutcomeViaProxyUntrusted    = DialOutcome(via.OutcomeProxyUntrusted)
	OutcomeViaProxyProtocol     = DialOutcome(via.OutcomeProxyProtocol)
	OutcomeViaLoginRefused      = DialOutcome(via.OutcomeLoginRefused)
	OutcomeViaTargetRefused     = DialOutcome(via.OutcomeTargetRefused)
	OutcomeViaTargetUnreachable = DialOutcome(via.OutcomeTargetUnreachable)
	OutcomeViaTargetInvalid     = DialOutcome(via.OutcomeTargetInvalid)
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
	if through, ok := errors.AsType[*via.Error](err); ok {
		if through.Outcome == via.OutcomeCanceled {
			return OutcomeCanceled
		}
		return DialOutcome(through.Outcome)
	}
	if _, isLogin := errors.AsType[*auth.LoginError](err); isLogin && !errors.Is(err, context.Canceled) {
		return OutcomeLoginFailed
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return OutcomeNoSuchHost
	}
	if failed, isTLS := errors.AsType[*tlsconf.Error](err); isTLS && !errors.Is(err, context.Canceled) {
		return DialOutcome(failed.Failure)
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
