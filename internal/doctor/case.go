package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/speaks"
	"kproxy/internal/tlsconf"
	"kproxy/internal/via"
	"kproxy/proxy"
)

// Case is an attempt that has failed, with the facts around it.
type Case struct {
	User    *User
	Node    int32  // proxy.NoNode: the address is one of the user's
	Address string // of the user's, or that the node advertises
	Err     error
	Peer    speaks.Peer // the port's protocol, if it was asked

	// KnownHost says that the same machine responds at another port.
	KnownHost bool
	// Working is the user's own address at which the node responds; "": it is not known.
	Working string
	// Layout is the broker's own configuration, as far as it could be read. Listener is the
	// name of the listener at which clients bootstrap, as another broker has it; "": it is not
	// known.
	Layout   Layout
	Listener string
}

// IsBootstrap reports whether the address is one of the user's.
func (c *Case) IsBootstrap() bool { return c.Node == proxy.NoNode && !isBadID(c.Err) }

// isElsewhereLocal reports whether the address works on the broker's own machine only, which is
// not this one: the user's addresses lead away from here.
func (c *Case) isElsewhereLocal() bool {
	return !c.IsBootstrap() && isLocal(c.Address) && !slices.ContainsFunc(c.User.Addresses, isLocal)
}

func isLocal(address string) bool {
	host, _, err := hostport.Parse(address)
	return err == nil && hostport.IsLoopback(host)
}

// HasEnded reports whether the other side has closed its connection without a response.
func HasEnded(err error) bool {
	failed, isTLS := errors.AsType[*tlsconf.Error](err)
	return isEnd(err) || isTLS && failed.Failure == tlsconf.Ended
}

// Dialled is the IP address in an error of a dial, or in an address.
func Dialled(err error, address string) netip.Addr {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if tcp, ok := op.Addr.(*net.TCPAddr); ok {
			return tcp.AddrPort().Addr().Unmap()
		}
	}
	host, _, _ := hostport.Parse(address)
	ip, _ := netip.ParseAddr(host)
	return ip.Unmap()
}

// Cause is an error in one line, without the dialled address.
func Cause(err error) string { return foreign.Line((&Case{Err: err}).cause()) }

// isEnd reports whether the other side has closed its connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// maxReason is the most characters of a reason: a few lines of a screen.
const maxReason = 500

// Judge finds the verdict and the fix.
func Judge(c Case) (v Verdict, step Step, reason string, fix Fix) {
	step = FailedStep(c.Err)
	v = c.verdict(step)
	switch v { //nolint:exhaustive // others stay where they were found
	case WantsTLS, NoTLS, WantsCert, CertRefused:
		step = TLS
	case OtherThing, IsControl, ProxyFirst, ClosesFirst, Closes, Silent:
		step = Kafka
	}
	return v, step, foreign.LineOf(c.reason(v), maxReason), c.remedy(v)
}

// Resolved is the IP address that was dialled, if an address has a name; "": it is not known.
func Resolved(err error, address string) string {
	host, _, bad := hostport.Parse(address)
	_, isVia := errors.AsType[*via.Error](err)
	ip := Dialled(err, address)
	if bad != nil || isVia || !ip.IsValid() || hostport.Canonical(host) == ip.String() || hostport.IsLoopback(host) {
		return ""
	}
	return foreign.Line(ip.String())
}

// reasons are the clauses of verdicts that need no details.
var reasons = map[Verdict]string{
	Wildcard:    "the broker advertises a wildcard (0.0.0.0 or ::), to which no client can connect",
	Missing:     "partitions have replicas on this broker, and the cluster does not list it: it is down, or was removed",
	NoAddress:   "the broker advertises no host and port that a client can connect to",
	Localhost:   "the broker advertises localhost, which is every client's own machine",
	Refused:     "connection refused: nothing listens on this port of the machine",
	PortBlocked: "no response on this port, although the same machine responds on another",
	Private:     "no response: the address is " + private,
	Filtered:    "no response: packets to it are dropped, or the machine is down",
	IsControl:   "no broker is there, but a KRaft controller, which serves no clients",
	ClosesFirst: "the port accepts a connection and closes it before anything is sent",
	Closes:      "the port accepts a connection and closes it at a Kafka request and at a TLS handshake, without a byte",
	Silent:      "the port accepts connections, and sends nothing in time at a Kafka request and at a TLS handshake",
}

const private = "a private one (RFC 1918), which works inside its own network or over a VPN"

// reason is the cause of the failure, as a clause.
func (c *Case) reason(v Verdict) string {
	if text := reasons[v]; text != "" {
		return text
	}
	switch v { //nolint:exhaustive // reasons has others
	case NameUnknown:
		return "no such host: the name does not resolve " + c.where()
	case NameTimeout:
		return "the name server does not say: " + c.cause()
	case NoRoute:
		if Dialled(c.Err, c.Address).IsPrivate() {
			return "there is no way to it from here: " + c.cause() + ". The address is " + private
		}
		return "there is no way to it from here: " + c.cause()
	case WantsTLS:
		return c.wantsTLS()
	case NoTLS:
		return "the port does not speak TLS: " + c.Peer.String() + " responds without"
	case Untrusted, Expired, WrongName, WantsCert, CertRefused, TLSVersion, TLSName, TLSFailed:
		return c.tlsReason(v)
	case OtherThing:
		return "no Kafka broker is there, but " + c.Peer.String()
	case ProxyFirst:
		return "no Kafka broker is there, but " + c.Peer.Kind.Name()
	case Mechanism, Password, NoLogin, Plaintext, LoginWanted, LoginFailed:
		return c.loginReason(v)
	}
	if c.Peer.Kind == speaks.Cut || errors.Is(c.Err, io.ErrUnexpectedEOF) {
		return "the response looks like Kafka's, and stops before its end: " + c.cause()
	}
	if c.Peer.Kind == speaks.TLS {
		return "the port speaks TLS, and gives no Kafka response"
	}
	return c.cause()
}

// where is the place that names are resolved at.
func (c *Case) where() string {
	if c.User.Via != "" {
		return "at " + c.User.Via
	}
	return "here"
}

// timedOut is the text of Go's timeout errors.
var timedOut = regexp.MustCompile(`(dial tcp [^ ]+: )?i/o timeout|context deadline exceeded`)

// cause is the error without the facts that the finding has already.
func (c *Case) cause() string {
	if dns, ok := errors.AsType[*net.DNSError](c.Err); ok {
		return dns.Err
	}
	if through, ok := errors.AsType[*via.Error](c.Err); ok {
		text := strings.TrimPrefix(through.Error(), through.Target+" via ")
		return timedOut.ReplaceAllString(text, "no response in time")
	}
	if op, ok := errors.AsType[*net.OpError](c.Err); ok && op.Op == "dial" {
		if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
			return call.Err.Error()
		}
		return op.Err.Error()
	}
	if failed, ok := errors.AsType[*tlsconf.Error](c.Err); ok {
		if errors.Is(failed.Err, context.DeadlineExceeded) {
			return "the TLS handshake has not ended in time"
		}
		return failed.Err.Error()
	}
	if responded, ok := errors.AsType[*AnsweredError](c.Err); ok {
		return responded.Error()
	}
	if errors.Is(c.Err, context.DeadlineExceeded) {
		return "no response in time"
	}
	return c.Err.Error()
}

// wantsTLS is the reason for a port that speaks TLS, with its certificate.
func (c *Case) wantsTLS() string {
	text := "the port wants TLS"
	if cert := c.Peer.Cert; cert != nil {
		text += fmt.Sprintf(": its certificate is for %s, issued by %s", cert.For(), cert.By())
	}
	if c.Peer.Wants {
		text += ", and it asks clients for a certificate of their own"
	}
	return text
}

// certificate is the one that the server has shown in the handshake that failed.
func (c *Case) certificate() *speaks.Certificate {
	if chain := tlsconf.Shown(c.Err); len(chain) > 0 {
		return speaks.CertificateOf(chain)
	}
	return c.Peer.Cert
}

// minute is a time for a sentence.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// serverName is the name that the user wants in every certificate; "": each broker's own.
func (c *Case) serverName() string {
	if c.User.TLS == nil {
		return ""
	}
	return c.User.TLS.ServerName
}

func (c *Case) tlsReason(v Verdict) string {
	cert := c.certificate()
	if cert == nil {
		cert = &speaks.Certificate{}
	}
	switch v {
	case Untrusted:
		trusted := "the system's authorities"
		if c.User.Trusted != "" {
			trusted = c.User.Trusted
		}
		return fmt.Sprintf("the certificate is not trusted: it is for %s, issued by %s; trusted is %s", cert.For(), cert.By(), trusted)
	case Expired:
		if time.Now().Before(cert.NotBefore) {
			return fmt.Sprintf("the certificate is not yet valid: it is valid from %s to %s", minute(cert.NotBefore), minute(cert.NotAfter))
		}
		return fmt.Sprintf("the certificate has expired: it was valid from %s to %s", minute(cert.NotBefore), minute(cert.NotAfter))
	case WrongName:
		host, _, _ := hostport.Parse(c.Address)
		if named := c.serverName(); named != "" {
			host = named
		}
		return fmt.Sprintf("the certificate is for %s, and not for %q", cert.For(), foreign.LineOf(host, 100))
	case WantsCert:
		return "the broker wants a certificate of the client (mTLS), and was shown none"
	case CertRefused:
		return "the broker does not accept the client's certificate"
	case TLSVersion:
		return "there is no TLS version or cipher in common: " + c.cause()
	default:
		return c.cause()
	}
}

func (c *Case) loginReason(v Verdict) string {
	switch v {
	case Mechanism:
		offer, _ := errors.AsType[*auth.OfferError](c.Err)
		return fmt.Sprintf("the broker does not offer %s, but %s", c.mechanism(), offered(offer.Offered))
	case NoLogin:
		return "this port takes no logins: its listener has no SASL"
	case LoginWanted:
		return "the port wants a login, and the user's address does not: it is that of another listener"
	case Plaintext:
		return "the login's secret would be sent without TLS"
	case Password:
		if isEnd(c.Err) {
			return c.login() + ": the broker closes the connection, as it may for a wrong password"
		}
		return c.login() + ": the broker refuses: " + c.loginCause()
	default:
		return c.cause()
	}
}

func (c *Case) mechanism() string {
	if c.User.SASL == nil {
		return "SASL"
	}
	return foreign.LineOf(c.User.SASL.Mechanism, 40)
}

// login is the mechanism and the user.
func (c *Case) login() string {
	if c.User.SASL == nil || c.User.SASL.Username == "" {
		return "log in by " + c.mechanism()
	}
	return fmt.Sprintf("log in by %s as %q", c.mechanism(), foreign.LineOf(c.User.SASL.Username, 60))
}

func (c *Case) loginCause() string {
	if login, ok := errors.AsType[*auth.LoginError](c.Err); ok {
		return login.Err.Error()
	}
	return c.cause()
}
