package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"kproxy/internal/foreign"
)

// Failure says why a handshake failed. The set is closed: logs, metrics and tests
// use these words and no others.
type Failure string

// The failures, of either side's handshakes unless they say otherwise.
const (
	NotTLS             Failure = "tls_plaintext"             // the other side does not speak TLS
	CertificateRefused Failure = "tls_certificate_refused"   // the other side refuses kproxy's certificate
	NoCertificate      Failure = "tls_no_certificate"        // the client has shown no certificate, or the broker wants one
	Untrusted          Failure = "tls_certificate_untrusted" // the other side's certificate leads to no trusted authority, or is invalid
	Expired            Failure = "tls_certificate_expired"   // the other side's certificate has expired, or is not valid yet
	WrongName          Failure = "tls_wrong_name"            // the broker's is for other names
	SubjectRefused     Failure = "tls_subject_refused"       // the client's certificate is valid, and its subject is not admitted
	VersionRefused     Failure = "tls_version"               // no version, or no cipher, in common
	UnknownName        Failure = "tls_unknown_sni"           // the client asks for an unknown name; the broker does not know its name
	NoName             Failure = "tls_no_sni"                // the client asks for no name where one is needed
	Timeout            Failure = "tls_timeout"               // not done in time
	Ended              Failure = "tls_closed"                // the other side closed its connection
	Other              Failure = "tls_failed"                // any other failure; see the error
)

// Error is a handshake that failed.
type Error struct {
	Failure Failure
	Advice  string // advice to the reader of the log; may be empty
	Err     error
}

// Error is the failure and the text of crypto/tls.
func (e *Error) Error() string { return string(e.Failure) + ": " + e.Err.Error() }

// Unwrap is the error of crypto/tls, or a [*NameError].
func (e *Error) Unwrap() error { return e.Err }

// side is the kind of the other end.
type side int

const (
	downstream side = iota // a client
	upstream               // a broker
)

func newError(s side, failure Failure, err error) *Error {
	advice := advices[failure][s]
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		advice = fmt.Sprintf(adviceNames, namesText(name.Certificate))
	}
	return &Error{Failure: failure, Advice: advice, Err: foreign.Error(err)} // it may list all names of a certificate
}

func failureOf(err error) Failure {
	if name, ok := errors.AsType[*NameError](err); ok {
		if name.Name == "" {
			return NoName
		}
		return UnknownName
	}
	if _, ok := errors.AsType[*SubjectError](err); ok {
		return SubjectRefused
	}
	if alert, ok := alertOf(err); ok {
		return alertFailures[alert]
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return NotTLS
	}
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return verificationFailure(verification)
	}
	switch {
	case isTimeout(err):
		return Timeout
	case isEnd(err):
		return Ended
	}
	for text, failure := range textFailures {
		if strings.HasPrefix(err.Error(), text) {
			return failure
		}
	}
	return Other
}

func verificationFailure(err error) Failure {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return Expired
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return WrongName
	}
	return Untrusted
}

// textFailures are the errors of crypto/tls that have no type, by how they begin.
// The tests hold each against the handshake that it comes from.
var textFailures = map[string]Failure{
	"tls: client didn't provide a certificate":          NoCertificate,
	"tls: client offered only unsupported versions":     VersionRefused,
	"tls: server selected unsupported protocol version": VersionRefused,
	"tls: no cipher suite supported by both":            VersionRefused,
}

// alertFailures are the failures by the other side's alert (RFC 8446, section 6.2).
var alertFailures = map[tls.AlertError]Failure{
	40:  VersionRefused,     // handshake_failure
	41:  NoCertificate,      // no_certificate, of SSL 3.0
	42:  CertificateRefused, // bad_certificate
	43:  CertificateRefused, // unsupported_certificate
	44:  CertificateRefused, // certificate_revoked
	45:  CertificateRefused, // certificate_expired
	46:  CertificateRefused, // certificate_unknown, which is Java's for any
	48:  CertificateRefused, // unknown_ca
	49:  CertificateRefused, // access_denied
	70:  VersionRefused,     // protocol_version
	71:  VersionRefused,     // insufficient_security
	80:  Other,              // internal_error
	112: UnknownName,        // unrecognized_name
	116: NoCertificate,      // certificate_required
}

// alertOf finds the alert that the other side has sent. Its type is not exported by
// crypto/tls; its text is that of [tls.AlertError].
func alertOf(err error) (tls.AlertError, bool) {
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" {
		return 0, false
	}
	for alert := range alertFailures {
		if remote.Err.Error() == alert.Error() {
			return alert, true
		}
	}
	return 0, false
}

// Shown returns the chain that the other side has shown, its own certificate first, if the
// handshake failed because of the chain; otherwise nil.
func Shown(err error) []*x509.Certificate {
	if failed, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failed.UnverifiedCertificates
	}
	return nil
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// isEnd reports whether the other side has closed its connection, in order or
// not. The error of a broken connection differs by system.
func isEnd(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	socket, ok := errors.AsType[*net.OpError](err)
	return ok && (socket.Op == "read" || socket.Op == "write") ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}
