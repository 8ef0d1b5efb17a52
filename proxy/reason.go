package proxy

import (
	"fmt"

	"kproxy/internal/admission"
	"kproxy/internal/tlsconf"
)

// CloseReason says why a session ended. The set is closed: logs, metrics and
// tests use these words and no others.
type CloseReason string

// The reasons.
const (
	NoRequest           CloseReason = "no_request"            // the client sent nothing: a health check or a port scan
	ClientClosed        CloseReason = "client_closed"         // the client ended its side, and has had its responses
	ClientReset         CloseReason = "client_reset"          // the client's connection broke
	BrokerClosed        CloseReason = "broker_closed"         // the broker ended its side
	BrokerReset         CloseReason = "broker_reset"          // the broker's connection broke
	DialFailed          CloseReason = "dial_failed"           // the broker could not be reached
	BrokerRefusedTLS    CloseReason = "broker_refused_tls"    // the broker does not take the proxy's part of the TLS handshake, and says so behind it
	DialRefused         CloseReason = "dial_refused"          // the broker's address is not one that may be dialled
	BrokerLogin         CloseReason = "broker_login"          // the proxy could not log in at the broker
	ClientLogin         CloseReason = "client_login"          // the client did not log in at the proxy, or not as a user that there is
	TooManyLogins       CloseReason = "too_many_logins"       // the client's password was not checked: too many wait for that
	FirstRequestTimeout CloseReason = "first_request_timeout" // no complete request header in time
	ForeignProtocol     CloseReason = "foreign_protocol"      // the client speaks something that is not Kafka

	// Those of TLS handshakes with clients are the words of tlsconf.Failure.

	TLSPlaintext          = CloseReason(tlsconf.NotTLS)             // the client speaks plaintext to a TLS port
	TLSCertificateRefused = CloseReason(tlsconf.CertificateRefused) // the client does not take the listener's certificate
	TLSNoCertificate      = CloseReason(tlsconf.NoCertificate)      // the client shows no certificate, and has to
	TLSUntrusted          = CloseReason(tlsconf.Untrusted)          // the client's certificate leads to no CA of client_ca
	TLSExpired            = CloseReason(tlsconf.Expired)            // the client's certificate has ended, or not begun
	TLSSubjectRefused     = CloseReason(tlsconf.SubjectRefused)     // the client's subject is not let in
	TLSVersion            = CloseReason(tlsconf.VersionRefused)     // no version or cipher in common
	TLSUnknownName        = CloseReason(tlsconf.UnknownName)        // the server name that the client asks for leads nowhere
	TLSNoName             = CloseReason(tlsconf.NoName)             // the client asks for no server name where it has to
	TLSTimeout            = CloseReason(tlsconf.Timeout)            // not done within handshake_timeout
	TLSClosed             = CloseReason(tlsconf.Ended)              // the client closed meanwhile
	TLSFailed             = CloseReason(tlsconf.Other)              // anything else

	// Those of connections that are refused are the words of admission.Refusal.

	NotAllowed         = CloseReason(admission.RefusedNetwork)     // refused by allow, deny or proxy_protocol.from: the client's network
	TooManyConnections = CloseReason(admission.RefusedConnections) // refused at max_connections, the listener's or that of all
	TooManyFromSource  = CloseReason(admission.RefusedSource)      // refused at max_per_source
	AcceptRate         = CloseReason(admission.RefusedRate)        // refused at accept_rate

	BadRequest         CloseReason = "bad_request"         // a request that contradicts itself
	RequestTooLarge    CloseReason = "request_too_large"   // a request above max_request_bytes
	UnknownAPI         CloseReason = "unknown_api"         // an API that could not be searched for addresses
	APIRefused         CloseReason = "api_refused"         // an API that the listener refuses, and that has no response to say so
	UnsupportedVersion CloseReason = "unsupported_version" // a version that could not be searched for addresses
	Relearn            CloseReason = "relearn"             // the endpoint's broker was not known yet; it is once the client comes back
	BadAnswer          CloseReason = "bad_answer"          // a response that contradicts itself
	UnexpectedAnswer   CloseReason = "unexpected_answer"   // a response out of order, or to nothing
	HeldBytes          CloseReason = "held_bytes"          // max_held_bytes are held, and the session comes first of those that have to go
	HoldTimeout        CloseReason = "hold_timeout"        // a frame that has to be whole did not come in time
	Loop               CloseReason = "loop"                // the proxy has reached itself
	OtherCluster       CloseReason = "other_cluster"       // a broker of another cluster responds at the address; the response was not delivered
	BadProxyHeader     CloseReason = "bad_proxy_header"    // no PROXY protocol header where one is required, or one that contradicts itself
	IdleTimeout        CloseReason = "idle_timeout"        // silent for idle_timeout, and owed nothing
	BrokerMoved        CloseReason = "broker_moved"        // the node is at another address, or has none; responses in flight were delivered
	MaxAge             CloseReason = "max_age"             // older than max_age; responses in flight were delivered
	Disconnected       CloseReason = "disconnected"        // an operator closed it; responses in flight were delivered, unless the drain timeout came first
	PeerGone           CloseReason = "peer_gone"           // bytes are unacknowledged and no sign of life has come
	Drained            CloseReason = "drained"             // the proxy stops or hands over, the listener is removed, or the login that kproxy sends has changed; responses in flight were delivered
	DrainTimeout       CloseReason = "drain_timeout"       // the proxy stops; responses in flight were not delivered in time
)

// ended is an error that ends a session for a known reason.
type ended struct {
	reason CloseReason
	err    error  // nil where the reason says it all
	fix    string // advice to the reader of the log; may be empty
	frees  int64  // bytes that the session's end gives back to the budget, where that is why
}

func (e *ended) Error() string {
	if e.err == nil {
		return string(e.reason)
	}
	return string(e.reason) + ": " + e.err.Error()
}

func (e *ended) Unwrap() error { return e.err }

// with returns e with one more error.
func (e *ended) with(err error) *ended {
	more := *e
	if more.err = err; e.err != nil {
		more.err = fmt.Errorf("%w; %w", e.err, err)
	}
	return &more
}

func end(reason CloseReason, err error) *ended { return &ended{reason: reason, err: err} }
