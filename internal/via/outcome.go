package via

import (
	"context"
	"errors"
	"fmt"
)

// Outcome says which hop of a dial failed. The set is closed: it is a metric's
// label.
type Outcome string

// The outcomes.
const (
	OutcomeCredentials       Outcome = "via_credentials"        // a key, a password or the agent cannot be used; nothing was sent
	OutcomeProxyUnreachable  Outcome = "via_proxy_unreachable"  // no connection to the proxy, or no response; the command does not start
	OutcomeProxyUntrusted    Outcome = "via_proxy_untrusted"    // its host key or certificate is not the known one
	OutcomeProxyProtocol     Outcome = "via_proxy_protocol"     // its response is of another protocol, or it closed the connection
	OutcomeLoginRefused      Outcome = "via_login_refused"      // it refuses the login, or wants one
	OutcomeTargetRefused     Outcome = "via_target_refused"     // it does not allow a connection to host:port
	OutcomeTargetUnreachable Outcome = "via_target_unreachable" // it cannot reach host:port, or is silent while it tries
	OutcomeTargetInvalid     Outcome = "via_target_invalid"     // not tried: host:port must not be passed on
	OutcomeCanceled          Outcome = "via_canceled"           // the context was canceled, or the Dialer closed
)

// Outcomes are all outcomes.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeCredentials, OutcomeProxyUnreachable, OutcomeProxyUntrusted, OutcomeProxyProtocol, OutcomeLoginRefused,
		OutcomeTargetRefused, OutcomeTargetUnreachable, OutcomeTargetInvalid, OutcomeCanceled,
	}
}

// text is the part of an error between the names of both ends and the reason.
func (o Outcome) text() string {
	switch o {
	case OutcomeCredentials:
		return "cannot log in"
	case OutcomeProxyUnreachable:
		return "cannot reach the proxy"
	case OutcomeProxyUntrusted:
		return "the proxy is not the one that is known"
	case OutcomeProxyProtocol:
		return "no usable response from the proxy"
	case OutcomeLoginRefused:
		return "the proxy refuses the login"
	case OutcomeTargetRefused:
		return "the proxy does not allow it"
	case OutcomeTargetUnreachable:
		return "the proxy cannot reach it"
	case OutcomeTargetInvalid:
		return "not tried"
	case OutcomeCanceled:
		return "given up"
	default:
		return string(o)
	}
}

// Error is a dial that failed.
type Error struct {
	Via     string // the proxy, as Dialer.String has it
	Target  string // host:port that was asked for
	Outcome Outcome
	Err     error // the reason; the context's own error if the context ended
}

// Error is both ends, the hop that failed and the reason in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s via %s: %s: %v", e.Target, e.Via, e.Outcome.text(), e.Err)
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// failure is a hop's error of a dial; Dialer adds both ends to it.
type failure struct {
	outcome Outcome
	err     error
}

func (f *failure) Error() string { return f.outcome.text() + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Fail is the error of a [Hop] whose dial ended with o. err is the reason.
func Fail(o Outcome, err error) error { return &failure{outcome: o, err: err} }

func failf(o Outcome, format string, args ...any) error { return Fail(o, fmt.Errorf(format, args...)) }

// explain turns a hop's error into the caller's. The context's end takes precedence over
// the error that it caused: it says more than "i/o timeout".
func explain(ctx context.Context, via, target string, err error) *Error {
	e := &Error{Via: via, Target: target, Outcome: OutcomeProxyUnreachable, Err: err}
	if f, ok := errors.AsType[*failure](err); ok {
		e.Outcome, e.Err = f.outcome, f.err
	}
	if ended := ctx.Err(); ended != nil {
		e.Err = ended
	}
	if errors.Is(e.Err, context.Canceled) {
		e.Outcome = OutcomeCanceled
	}
	return e
}
