package speaks

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"kproxy/internal/foreign"
)

// Kind is a protocol, or a behaviour where the protocol is not known. The set is closed:
// --json prints these words.
type Kind string

// The kinds.
const (
	NotAsked    Kind = "" // the port was not asked
	Kafka       Kind = "kafka"
	Controller  Kind = "kraft-controller"
	HTTP        Kind = "http"
	SSH         Kind = "ssh"
	TLS         Kind = "tls" // TLS, with an unknown protocol inside
	ProxyWanted Kind = "proxy-header-wanted"
	ProxySent   Kind = "proxy-header"
	MySQL       Kind = "mysql"
	PostgreSQL  Kind = "postgresql"
	Redis       Kind = "redis"
	SMTP        Kind = "smtp"
	FTP         Kind = "ftp"
	IMAP        Kind = "imap"
	POP3        Kind = "pop3"
	ZooKeeper   Kind = "zookeeper"
	AMQP        Kind = "amqp"
	Unknown     Kind = "unknown"         // it sent bytes of an unknown protocol
	ClosesFirst Kind = "closes-at-once"  // it closes before it gets any byte
	Closes      Kind = "closes-on-bytes" // it closes when something is sent to it
	Cut         Kind = "cut"             // it begins a Kafka response, and stops
	Silent      Kind = "silent"          // it accepts connections and sends nothing
	Unreachable Kind = "unreachable"     // a further connection was not accepted
)

// Peer is the service behind a port.
type Peer struct {
	Kind   Kind
	Text   string       // its own text: a banner, a status line; cleaned, one line
	Secure bool         // it speaks inside TLS
	Cert   *Certificate // its certificate in TLS; nil: none was seen
	Wants  bool         // in TLS, it asks for a client's certificate
}

// names are the kinds as parts of a sentence.
var names = map[Kind]string{
	Kafka:       "a Kafka broker",
	Controller:  "a KRaft controller",
	HTTP:        "an HTTP server",
	SSH:         "an SSH server",
	TLS:         "a TLS server",
	ProxyWanted: "a proxy that wants a PROXY protocol header first",
	ProxySent:   "a proxy that sends a PROXY protocol header",
	MySQL:       "a MySQL or MariaDB server",
	PostgreSQL:  "a PostgreSQL server",
	Redis:       "a Redis server",
	SMTP:        "a mail server (SMTP)",
	FTP:         "an FTP server",
	IMAP:        "a mail server (IMAP)",
	POP3:        "a mail server (POP3)",
	ZooKeeper:   "ZooKeeper",
	AMQP:        "an AMQP server, such as RabbitMQ",
	Unknown:     "a service of an unknown protocol",
}

// Name is the service as a part of a sentence, with an article; "" for a behaviour.
func (k Kind) Name() string { return names[k] }

// IsService reports whether the kind is a protocol that is not Kafka's.
func (k Kind) IsService() bool {
	return names[k] != "" && k != Kafka && k != Controller && k != TLS && k != ProxyWanted
}

// String is the service and its own words, as a part of a sentence.
func (p Peer) String() string {
	name := p.Kind.Name()
	if p.Secure && p.Kind != TLS {
		name += " inside TLS"
	}
	if p.Secure && p.Cert != nil {
		name += fmt.Sprintf(" (its certificate is for %s, issued by %s)", p.Cert.For(), p.Cert.By())
	}
	if p.Text != "" {
		name += `, which says "` + p.Text + `"`
	}
	return name
}

// Certificate has the fields of a certificate, cleaned for a screen.
type Certificate struct {
	Names      []string // of hosts, at most maxNames
	More       int      // names that were left out
	Subject    string
	Issuer     string
	SelfSigned bool
	NotBefore  time.Time
	NotAfter   time.Time
	Trusted    bool // by the system's authorities, names aside
}

const (
	maxNames    = 10  // of a certificate that are kept
	maxNameText = 80  // characters of one
	maxText     = 120 // characters of a banner
)

// CertificateOf reads a chain that was shown, the server's own certificate first.
func CertificateOf(chain []*x509.Certificate) *Certificate {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	all := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	c := &Certificate{
		Subject:    foreign.LineOf(leaf.Subject.String(), maxText),
		Issuer:     foreign.LineOf(leaf.Issuer.String(), maxText),
		SelfSigned: len(leaf.RawIssuer) > 0 && string(leaf.RawIssuer) == string(leaf.RawSubject),
		NotBefore:  leaf.NotBefore,
		NotAfter:   leaf.NotAfter,
		More:       max(0, len(all)-maxNames),
	}
	for _, name := range all[:min(len(all), maxNames)] {
		c.Names = append(c.Names, foreign.LineOf(name, maxNameText))
	}
	intermediates := x509.NewCertPool()
	for _, more := range chain[1:] {
		intermediates.AddCert(more)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: intermediates})
	c.Trusted = err == nil
	return c
}

// For is the certificate's names, in quotes. They are clean already.
func (c *Certificate) For() string {
	if len(c.Names) == 0 {
		return "no host name (it has no subjectAltName, and its common name does not count)"
	}
	var quoted []string
	for _, name := range c.Names {
		quoted = append(quoted, `"`+name+`"`)
	}
	text := strings.Join(quoted, ", ")
	if c.More > 0 {
		text += fmt.Sprintf(" and %d more", c.More)
	}
	return text
}

// By is the issuer.
func (c *Certificate) By() string {
	if c.SelfSigned {
		return `itself (self-signed, "` + c.Subject + `")`
	}
	return `"` + c.Issuer + `"`
}
