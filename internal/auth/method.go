package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kproxy/internal/foreign"
)

// The mechanisms, by their names in the protocol.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
	AWSMSKIAM   = "AWS_MSK_IAM"
)

// Mechanisms lists those by which kproxy can log in.
func Mechanisms() []string {
	return []string{Plain, ScramSHA256, ScramSHA512, OAuthBearer, AWSMSKIAM}
}

// SASL is the configuration of kproxy's login at the brokers of a cluster.
type SASL struct {
	Mechanism string // one of Mechanisms
	Username  string // for PLAIN and SCRAM
	Password  Secret // for PLAIN and SCRAM
	OAuth     OAuth  // for OAUTHBEARER
	AWS       AWS    // for AWS_MSK_IAM

	// AllowPlaintext lets secrets go to brokers that are neither on loopback nor
	// reached over TLS.
	AllowPlaintext bool
}

// Method is the way to log in at one cluster. It keeps tokens until shortly before they
// expire. It is safe for concurrent use.
type Method struct {
	name           string
	source         Source
	allowPlaintext bool
}

// New returns the Method that conf describes. aws makes the Source of AWS_MSK_IAM; nil: the
// program does not link it. New asks no server and reads no file.
func New(conf *SASL, aws AWSSource) (*Method, error) {
	m := &Method{name: conf.Mechanism, allowPlaintext: conf.AllowPlaintext}
	switch conf.Mechanism {
	case Plain, ScramSHA256, ScramSHA512:
		m.source = password{conf}
	case OAuthBearer:
		m.source = newTokens(&conf.OAuth)
	case AWSMSKIAM:
		if aws == nil {
			return nil, ErrNoAWS
		}
		m.source = aws(conf.AWS)
	default:
		return nil, fmt.Errorf("no mechanism is called %q", conf.Mechanism)
	}
	return m, nil
}

// password is the Source of PLAIN and SCRAM.
type password struct{ conf *SASL }

// Get reads the password.
func (p password) Get(ctx context.Context) (Credentials, error) {
	text, err := p.conf.Password.Read(ctx)
	return Credentials{Mechanism: byPassword(p.conf.Mechanism, p.conf.Username, text), Secrets: []string{text}}, err
}

// Close does nothing.
func (password) Close() {}

func byPassword(mechanism, user, password string) sasl.Mechanism {
	switch auth := (scram.Auth{User: user, Pass: password}); mechanism {
	case ScramSHA256:
		return auth.AsSha256Mechanism()
	case ScramSHA512:
		return auth.AsSha512Mechanism()
	default:
		return plain.Auth{User: user, Pass: password}.AsMechanism()
	}
}

// Name is the mechanism's name.
func (m *Method) Name() string { return m.name }

// Close cancels background requests to a token endpoint or to AWS, and waits until they have ended.
func (m *Method) Close() { m.source.Close() }

// ErrPlaintext means that a secret was not sent.
var ErrPlaintext = errors.New("the connection is neither TLS nor loopback, and would show the secret")

// Permits returns an error if no secret may be sent to a broker at this address. secure
// says that the connection has TLS.
func (m *Method) Permits(remote netip.Addr, secure bool) error {
	if secure || m.allowPlaintext || remote.IsLoopback() {
		return nil
	}
	return &LoginError{
		Mechanism: m.Name(),
		Err:       ErrPlaintext,
		Fix:       "give the cluster tls, or set sasl.allow_plaintext if the network may see it",
	}
}

// Begin prepares a login at the broker with the name host, a host:port. It reads the
// secrets from a file or a token server, and may take as long as ctx allows; the login
// itself then waits for the broker only.
func (m *Method) Begin(ctx context.Context, host string) (*Login, error) {
	const fix = "look at sasl: kproxy cannot get its credentials"
	c, err := m.source.Get(ctx)
	if err != nil {
		return nil, &LoginError{Mechanism: m.name, Err: err, Fix: fix}
	}
	l := &Login{mechanism: m.name, source: m, credentials: c}
	if l.session, l.token, err = c.Mechanism.Authenticate(ctx, host); err != nil {
		return nil, &LoginError{Mechanism: m.name, Err: QuoteError(err, c.Secrets...), Fix: fix}
	}
	return l, nil
}

// LoginError is the reason why kproxy could not log in at a broker.
type LoginError struct {
	Mechanism string
	Refused   bool // the broker has refused the credentials: other brokers, and later logins, will refuse them too
	Err       error
	Fix       string

	// Unanswered reports that the login has not begun: there was no valid response to
	// ApiVersions.
	Unanswered bool
}

// ErrNoLogin means that a broker's listener has no logins.
var ErrNoLogin = errors.New("the broker wants no login on this listener")

// OfferError means that a broker does not offer a mechanism. It has the offered ones.
type OfferError struct{ Offered []string }

// List returns the offered mechanisms.
func (e *OfferError) List() string { return strings.Join(e.Offered, ", ") }

// Error names the offered mechanisms.
func (e *OfferError) Error() string {
	return "the broker does not offer it, but " + foreign.Line(e.List())
}

// Error names the mechanism, and never the secrets.
func (e *LoginError) Error() string { return "log in by " + e.Mechanism + ": " + e.Err.Error() }

func (e *LoginError) Unwrap() error { return e.Err }

// maxLifetime bounds the session lifetime in a broker's response. A year is long enough.
const maxLifetime = 365 * 24 * time.Hour

// lifetimeOf converts a session lifetime from the wire; 0: unlimited.
func lifetimeOf(milliseconds int64) time.Duration {
	if milliseconds <= 0 {
		return 0
	}
	return time.Duration(min(milliseconds, int64(maxLifetime/time.Millisecond))) * time.Millisecond
}
