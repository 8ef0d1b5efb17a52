package doctor

import (
	"errors"
	"net"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"

	"kproxy/internal/auth"
	"kproxy/internal/hostport"
	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy"
)

// Verdict is the cause of an address's failure, in one word. The set is closed: --json prints
// these.
type Verdict string

// The verdicts, by the step at which they are found.
const (
	// Name.
	NameUnknown Verdict = "name_unknown"       // the name has no address
	NameTimeout Verdict = "name_timeout"       // the name server does not respond
	Wildcard    Verdict = "wildcard"           // 0.0.0.0 is advertised
	NoAddress   Verdict = "address_invalid"    // the advertised text is no address
	BadID       Verdict = "id_invalid"         // the list of brokers has an id that stands for no one broker
	Missing     Verdict = "missing_broker"     // replica lists name a broker that Metadata lacks
	Localhost   Verdict = "localhost"          // Connect, Itself: a broker on another machine advertises localhost
	Refused     Verdict = "refused"            // Connect: nothing listens there
	PortBlocked Verdict = "port_filtered"      // the machine responds at another port
	Private     Verdict = "private_address"    // a private address does not respond
	Filtered    Verdict = "filtered"           // nothing comes back
	NoRoute     Verdict = "no_route"           // the network reports that there is no route
	ViaFailed   Verdict = "via_failed"         // the machine of --via cannot be used, or cannot reach it
	NotDialled  Verdict = "not_dialled"        // an address of a class without brokers
	NotReached  Verdict = "not_reached"        // any other error of a connection
	WantsTLS    Verdict = "tls_wanted"         // TLS: the port speaks it and the client does not
	NoTLS       Verdict = "tls_not_spoken"     // the other way round
	Untrusted   Verdict = "tls_untrusted"      // the certificate leads to no trusted authority
	Expired     Verdict = "tls_expired"        // it has expired, or is not valid yet
	WrongName   Verdict = "tls_wrong_name"     // it is for other names
	WantsCert   Verdict = "tls_client_wanted"  // the broker wants a client's certificate
	CertRefused Verdict = "tls_client_refused" // it does not accept the client's certificate
	TLSVersion  Verdict = "tls_version"        // no version in common
	TLSName     Verdict = "tls_unknown_name"   // the broker does not know the name it was asked for
	TLSFailed   Verdict = "tls_failed"         // any other error of a handshake
	OtherThing  Verdict = "other_service"      // Kafka: something else listens there
	IsControl   Verdict = "controller"         // a KRaft controller
	ProxyFirst  Verdict = "proxy_header"       // a proxy that wants a PROXY header, or sends one
	ClosesFirst Verdict = "closes_at_once"     // it closes connections before anything was sent
	Closes      Verdict = "closes"             // it closes when it was sent a Kafka request
	Silent      Verdict = "silent"             // it accepts connections and sends nothing
	BadKafka    Verdict = "kafka_failed"       // a Kafka broker, with an error
	Mechanism   Verdict = "login_mechanism"    // Login: the mechanism is not offered
	Password    Verdict = "login_refused"      // user or password are wrong
	NoLogin     Verdict = "login_not_wanted"   // the port has no logins
	Plaintext   Verdict = "login_plaintext"    // a secret would be sent without TLS
	LoginWanted Verdict = "login_wanted"       // the port wants a login, and the client has none
	LoginFailed Verdict = "login_failed"       // any other error of a login
	SameAddress Verdict = "same_address"       // Itself: two brokers advertise one address
	AnotherNode Verdict = "another_node"       // another node responds there
	Balancer    Verdict = "load_balancer"      // different nodes respond there
	Stranger    Verdict = "another_cluster"    // another cluster responds there
)

// SelfError says that another server than expected responds at an address.
type SelfError struct {
	Verdict Verdict // SameAddress, AnotherNode, Balancer or Stranger
	Node    int32   // for AnotherNode, its id; proxy.NoNode: not known
	Says    string
}

func (e *SelfError) Error() string { return e.Says }

// NotBrokerError says that a port speaks Kafka, and is no broker's.
type NotBrokerError struct{}

func (e *NotBrokerError) Error() string { return "a KRaft controller responds there, and no broker" }

// Errors of an address itself.
var (
	ErrNoAddress = errors.New("it is not an address that a client can connect to")
	ErrMissing   = errors.New("replica lists name this broker, and the list of brokers does not")
)

// FailedStep is the step at which a connection failed.
func FailedStep(err error) Step {
	_, notItself := errors.AsType[*SelfError](err)
	login, isLogin := errors.AsType[*auth.LoginError](err)
	_, isTLS := errors.AsType[*tlsconf.Error](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, isVia := errors.AsType[*via.Error](err)
	_, isRefused := errors.AsType[*upstream.RefusedError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return Arrived
	case notItself:
		return Itself
	case isCommandsEnd(err):
		return Connect
	case IsAnswered(err):
		return Kafka
	case isTLS:
		return TLS
	case isLogin && !login.Unanswered, errors.Is(err, auth.ErrPlaintext), errors.Is(err, proxy.ErrNeedsLogin):
		return Login
	case isDNS, isBadID(err), errors.Is(err, ErrNoAddress), errors.Is(err, ErrMissing):
		return Name
	case isOp && op.Op == "dial", isVia, isRefused:
		return Connect
	default:
		return Kafka
	}
}

// NeedsAsking reports whether the port itself has to be examined to find the cause: a
// server accepted the connection and gave no Kafka response.
func NeedsAsking(err error) bool {
	switch FailedStep(err) {
	case Kafka:
		_, isController := errors.AsType[*NotBrokerError](err)
		return !isController && !isKafkaError(err) && !IsAnswered(err)
	case TLS:
		failed, _ := errors.AsType[*tlsconf.Error](err)
		switch failed.Failure {
		case tlsconf.NotTLS, tlsconf.Ended, tlsconf.Timeout, tlsconf.Other:
			return true
		default:
			return false
		}
	case Login:
		return errors.Is(err, auth.ErrPlaintext) // the port may speak TLS
	default:
		return false
	}
}

// isKafkaError reports whether err is an error code of Kafka's: a broker has responded.
func isKafkaError(err error) bool {
	_, ok := errors.AsType[*kerr.Error](err)
	return ok
}

// verdictOf finds the verdict of a case that failed at a step.
func (c *Case) verdict(step Step) Verdict {
	switch step {
	case Name:
		return c.ofName()
	case Connect:
		return c.ofConnect()
	case TLS:
		return c.ofTLS()
	case Login:
		return c.ofLogin()
	case Itself:
		self, _ := errors.AsType[*SelfError](c.Err)
		if c.isElsewhereLocal() {
			return Localhost
		}
		return self.Verdict
	default:
		return c.ofKafka()
	}
}

func (c *Case) ofName() Verdict {
	if dns, ok := errors.AsType[*net.DNSError](c.Err); ok {
		if dns.IsTimeout || dns.IsTemporary && !dns.IsNotFound {
			return NameTimeout
		}
		return NameUnknown
	}
	host, _, err := hostport.Parse(c.Address)
	switch {
	case isBadID(c.Err):
		return BadID
	case errors.Is(c.Err, ErrMissing):
		return Missing
	case err == nil && host != "" && hostport.IsWildcard(host):
		return Wildcard
	default:
		return NoAddress
	}
}

func (c *Case) ofConnect() Verdict {
	_, isVia := errors.AsType[*via.Error](c.Err)
	_, notDialled := errors.AsType[*upstream.RefusedError](c.Err)
	late, isNet := errors.AsType[net.Error](c.Err)
	switch {
	case c.isElsewhereLocal():
		return Localhost
	case isVia, isCommandsEnd(c.Err):
		return ViaFailed
	case notDialled:
		return NotDialled
	case errors.Is(c.Err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(c.Err, syscall.EHOSTUNREACH), errors.Is(c.Err, syscall.ENETUNREACH):
		return NoRoute
	case !isNet || !late.Timeout():
		return NotReached
	case c.KnownHost:
		return PortBlocked
	case Dialled(c.Err, c.Address).IsPrivate() && !c.IsBootstrap():
		return Private
	default:
		return Filtered
	}
}

func (c *Case) ofTLS() Verdict {
	failed, _ := errors.AsType[*tlsconf.Error](c.Err)
	switch failed.Failure {
	case tlsconf.Untrusted:
		return Untrusted
	case tlsconf.Expired:
		return Expired
	case tlsconf.WrongName:
		return WrongName
	case tlsconf.NoCertificate:
		return WantsCert
	case tlsconf.CertificateRefused:
		return c.certRefused()
	case tlsconf.VersionRefused:
		return TLSVersion
	case tlsconf.UnknownName:
		return TLSName
	default:
	}
	return c.ofHandshake(failed.Failure, c.ofPort(TLSFailed))
}

// certRefused distinguishes a client that shows no certificate from one whose certificate is
// refused: Java sends the same alert for both.
func (c *Case) certRefused() Verdict {
	if c.User.TLS == nil || c.User.TLS.Cert == "" {
		return WantsCert
	}
	return CertRefused
}

// ofPort is the verdict by the port's protocol, or another where that is not known.
func (c *Case) ofPort(otherwise Verdict) Verdict {
	p := c.Peer
	switch {
	case p.Kind == speaks.Controller:
		return IsControl
	case p.Kind.IsService() && p.Kind != speaks.ProxySent && p.Kind != speaks.Unknown:
		return OtherThing
	case p.Kind == speaks.ProxySent, p.Kind == speaks.ProxyWanted:
		return ProxyFirst
	case p.Secure && c.User.TLS == nil:
		return WantsTLS
	case p.Secure && p.Wants && c.User.TLS.Cert == "":
		return WantsCert
	case p.Secure && p.Wants:
		return CertRefused
	case p.Kind == speaks.Kafka && !p.Secure && c.User.TLS != nil:
		return NoTLS
	case p.Kind == speaks.Unknown:
		return OtherThing
	case p.Kind == speaks.ClosesFirst:
		return ClosesFirst
	case p.Kind == speaks.Closes:
		return Closes
	case p.Kind == speaks.Silent:
		return Silent
	case p.Kind == speaks.Cut:
		return BadKafka
	default:
		return otherwise
	}
}

func (c *Case) ofKafka() Verdict {
	if _, ok := errors.AsType[*NotBrokerError](c.Err); ok {
		return IsControl
	}
	if IsAnswered(c.Err) {
		return BadKafka
	}
	return c.ofPort(BadKafka)
}

func (c *Case) ofLogin() Verdict {
	if errors.Is(c.Err, auth.ErrPlaintext) {
		if c.Peer.Secure {
			return WantsTLS
		}
		return Plaintext
	}
	if errors.Is(c.Err, proxy.ErrNeedsLogin) {
		return LoginWanted
	}
	login, _ := errors.AsType[*auth.LoginError](c.Err)
	_, offers := errors.AsType[*auth.OfferError](c.Err)
	switch {
	case offers:
		return Mechanism
	case errors.Is(c.Err, auth.ErrNoLogin):
		return NoLogin
	case login.Refused || isEnd(c.Err): // a broker may end the connection for a wrong password
		return Password
	default:
		return LoginFailed
	}
}
