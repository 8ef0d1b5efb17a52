package cluster

import (
	"cmp"
	"context"
	"errors"
	"net"
	"syscall"

	"kproxy/internal/auth"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
)

// Outcome is the result of an attempt to reach a broker. The set is closed: the outcomes
// here, and the words of tlsconf.Failure for a TLS handshake that failed.
type Outcome string

// The outcomes.
const (
	OutcomeOK                Outcome = "ok"
	OutcomeConnectionRefused Outcome = "connection_refused" // nothing listens there
	OutcomeTimeout           Outcome = "timeout"            // no response within connect_timeout, of the name server or the broker
	OutcomeNoSuchHost        Outcome = "no_such_host"       // the name does not resolve
	OutcomeUnreachable       Outcome = "unreachable"        // there is no route
	OutcomeRefused           Outcome = "refused"            // not tried: the cluster's rules do not allow the address
	OutcomeLoop              Outcome = "loop"               // not tried: the address is the proxy's own
	OutcomeLoginFailed       Outcome = "login_failed"       // reached, and the proxy could not log in
	OutcomeOtherCluster      Outcome = "other_cluster"      // not tried: a broker of another cluster responds there
	OutcomeCanceled          Outcome = "canceled"           // the proxy stops, or the client has left
	OutcomeOther             Outcome = "other"              // any other error; it is in the log

	// The way through a via: which hop failed.
	OutcomeViaCredentials       = Outcome(via.OutcomeCredentials)
	OutcomeViaProxyUnreachable  = Outcome(via.OutcomeProxyUnreachable)
	OutcomeViaProxyUntrusted    = Outcome(via.OutcomeProxyUntrusted)
	OutcomeViaProxyProtocol     = Outcome(via.OutcomeProxyProtocol)
	OutcomeViaLoginRefused      = Outcome(via.OutcomeLoginRefused)
	OutcomeViaTargetRefused     = Outcome(via.OutcomeTargetRefused)
	OutcomeViaTargetUnreachable = Outcome(via.OutcomeTargetUnreachable)
	OutcomeViaTargetInvalid     = Outcome(via.OutcomeTargetInvalid)
)

// OutcomeOf classifies the error of a dial.
func OutcomeOf(err error) Outcome {
	outcome, _ := Diagnose(err)
	return outcome
}

// dialRule is the fix for a broker that is not reached for no better known reason.
const dialRule = "if the broker runs, add a dial rule from its advertised name to an address that works from here"

// Diagnose classifies the error of a dial, and returns its fix; "" for OutcomeOK. Of several
// attempts, the error that ended them counts.
func Diagnose(err error) (outcome Outcome, fix string) {
	if err == nil {
		return OutcomeOK, ""
	}
	if _, isLoop := errors.AsType[*upstream.LoopError](err); isLoop {
		return OutcomeLoop, "add a dial rule that leads to the broker itself"
	}
	if isStranger(err) {
		return OutcomeOtherCluster, strangerFix
	}
	if refused, isRefused := errors.AsType[*upstream.RefusedError](err); isRefused {
		return OutcomeRefused, refused.Fix
	}
	if through, ok := errors.AsType[*via.Error](err); ok {
		outcome = Outcome(through.Outcome)
		if through.Outcome == via.OutcomeCanceled {
			outcome = OutcomeCanceled
		}
		return outcome, viaFix(through)
	}
	canceled := errors.Is(err, context.Canceled)
	if login, isLogin := errors.AsType[*auth.LoginError](err); isLogin && !canceled {
		return OutcomeLoginFailed, login.Fix
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return OutcomeNoSuchHost, dialRule
	}
	if failed, isTLS := errors.AsType[*tlsconf.Error](err); isTLS && !canceled {
		return Outcome(failed.Failure), cmp.Or(failed.Advice, dialRule)
	}
	timed, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), ok && timed.Timeout():
		outcome = OutcomeTimeout
	case canceled:
		outcome = OutcomeCanceled
	case errors.Is(err, syscall.ECONNREFUSED):
		outcome = OutcomeConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		outcome = OutcomeUnreachable
	default:
		outcome = OutcomeOther
	}
	return outcome, dialRule
}
