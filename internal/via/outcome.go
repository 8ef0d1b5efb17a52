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
	OutcomeProxyUnreachable  Outcome = "via_proxy_unreachable"  // no connection to the proxy, or no word from it; the command does not start
	OutcomeProxyUntrusted    Outcome = "via_proxy_untrusted"    // its host key or certificate is not the one that is known
	OutcomeProxyProtocol     Outcome = "via_proxy_protocol"     // its answer is not of its protocol, or it hung up instead
	OutcomeLoginRefused      Outcome = "via_login_refused"      // it wants another login, or one at all
	OutcomeTargetRefused     Outcome = "via_target_refused"     // it does not allow a connection to host:port
	OutcomeTargetUnreachable Outcome = "via_target_unreachable" // it cannot reach host:port, or says nothing while it tries
	OutcomeTargetInvalid     Outcome = "via_target_invalid"     // not tried: host:port is none that may be passed on
	OutcomeCanceled          Outcome = "via_canceled"           // the context was canceled, or the Dialer closed
)

// Outcomes are all there are.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeCredentials, OutcomeProxyUnreachable, OutcomeProxyUntrusted, OutcomeProxyProtocol, OutcomeLoginRefused,
		OutcomeTargetRefused, OutcomeTargetUnreachable, OutcomeTargetInvalid, OutcomeCanceled,
	}
}

// text says o to a person, between the names of both ends and the reason.
func (o Outcome) text() string {
	switch o {
	case OutcomeCredentials:
		return "cannot log in"
	case OutcomeProxyUnreachable:
		return "cannot reach the proxy"
	case OutcomeProxyUntrusted:
		return "the proxy is not the one that is known"
	case OutcomeProxyProtocol:
		return "no usable answer from the proxy"
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
	Err     error // the reason; context's own error where the context ended
}

// Error is both ends, the hop that failed and the reason in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s via %s: %s: %v", e.Target, e.Via, e.Outcome.text(), e.Err)
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// failure is what a hop says of a dial; Dialer adds both ends to it.
type failure struct {
	outcome Outcome
	err     error
}

func (f *failure) Error() string { return f.outcome.text() + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Fail is the error of a [Hop] whose dial ended with o. err is the reason.
func Fail(o Outcome, err error) error { return &failure{outcome: o, err: err} }

func failf(o Outcome, format string, args ...any) error { return Fail(o, fmt.Errorf(format, args...)) }

// explain turns a hop's error into the caller's. The context's end outranks what
// it made of the connection: "i/o timeout" tells less than who gave up.
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
