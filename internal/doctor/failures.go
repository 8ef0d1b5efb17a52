package doctor

import (
	"errors"
	"os/exec"
	"slices"
	"strings"

	"kproxy/internal/tlsconf"
	"kproxy/proxy"
)

// IDError says that the list of brokers has an id that does not stand for one broker.
type IDError struct{ Says string }

func (e *IDError) Error() string { return e.Says }

func isBadID(err error) bool {
	_, ok := errors.AsType[*IDError](err)
	return ok
}

// fixID is for the list of brokers itself.
func fixID() Fix {
	return Fix{Text: "each broker needs a node.id (broker.id without KRaft) from 0 that no other one has: see it in the server.properties of the brokers. " +
		"If all are right there, a middlebox changes the brokers' responses: connect to them directly", Docs: docsAdvertised}
}

// AnsweredError says that a port has responded to ApiVersions as a broker does, and not to the
// request after it. The port itself is not examined then.
type AnsweredError struct{ Err error }

func (e *AnsweredError) Error() string {
	return "a broker responds to ApiVersions, and then Metadata fails: " + e.cause()
}

func (e *AnsweredError) Unwrap() error { return e.Err }

// cause is the error behind it in a few words.
func (e *AnsweredError) cause() string {
	text := strings.TrimPrefix((&Case{Err: e.Err}).cause(), "ask for metadata: ")
	if isEnd(e.Err) {
		return "it closes the connection before the response is complete"
	}
	return text
}

// IsAnswered reports whether err is an *AnsweredError.
func IsAnswered(err error) bool {
	_, ok := errors.AsType[*AnsweredError](err)
	return ok
}

// isCommandsEnd reports whether the command of --via has failed.
func isCommandsEnd(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}

// fixCommand is for the command of --via.
func (c *Case) fixCommand() Fix {
	const text = "run the command of --via by hand, with the address in place of {host} and {port}, to see why it ends"
	if c.IsBootstrap() {
		return Fix{Text: text, Docs: docsNetworks}
	}
	return c.another(text, docsNetworks)
}

// isBootstrap reports whether the address is one of the user's. A broker may claim any id.
func (f *Finding) isBootstrap() bool { return f.Node == proxy.NoNode && f.Verdict != BadID }

// ofHandshake is the verdict on a handshake that failed, where the port has one by itself. The
// error of a server that responded in TLS says more than the end of the connection.
func (c *Case) ofHandshake(failure tlsconf.Failure, ofPort Verdict) Verdict {
	if failure == tlsconf.Other && slices.Contains([]Verdict{ClosesFirst, Closes, Silent}, ofPort) {
		return TLSFailed
	}
	return ofPort
}
