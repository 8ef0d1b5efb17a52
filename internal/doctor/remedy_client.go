package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kproxy/internal/hostport"
)

const theClientsFile = "the client's file"

// client are lines of the client's file, where there is one.
func (c *Case) client(f Fix, lines ...string) Fix {
	if c.User.File != "" {
		f.File, f.Properties = theClientsFile, lines
	}
	return f
}

// command adds the user's own command with other flags, if the user has given only flags.
func (c *Case) command(f Fix, more ...string) Fix {
	if c.User.File == "" {
		f.Command = c.User.Line("doctor", more...)
	}
	return f
}

// protocolWith is the security protocol with TLS or without.
func (u *User) protocolWith(secure bool) string {
	other := *u
	if other.TLS = nil; secure {
		return strings.NewReplacer("SASL_PLAINTEXT", "SASL_SSL", "PLAINTEXT", "SSL").Replace(other.Protocol())
	}
	return other.Protocol()
}

// fixTLS is for certificates, and for TLS on one side only.
func (c *Case) fixTLS(v Verdict) Fix {
	u := c.User
	switch v {
	case WantsTLS, NoTLS:
		if !c.IsBootstrap() {
			return c.oneProtocol(v)
		}
		return c.switchTLS(v)
	case Untrusted:
		return c.trust()
	case WrongName:
		return c.fixName()
	case Expired:
		if cert := c.certificate(); cert != nil && time.Now().Before(cert.NotBefore) {
			return Fix{Text: "see whether this machine's clock is right: it says " + minute(time.Now()) + ". If it is, have the broker show a certificate that is valid already", Docs: docsCerts}
		}
		return Fix{Text: "renew the broker's certificate, or set this machine's clock if the certificate is good", Docs: docsCerts}
	case WantsCert:
		f := Fix{Text: "give the client a certificate that the broker's truststore knows: " +
			u.key("add --cert FILE --key FILE", "set ssl.keystore.location", "set ssl.certificate.location and ssl.key.location"), Docs: docsCerts}
		if u.Librdkafka {
			return c.client(f, "ssl.certificate.location=FILE", "ssl.key.location=FILE")
		}
		return c.command(c.client(f, "ssl.keystore.type=PEM", "ssl.keystore.location=FILE"), "--cert", "FILE", "--key", "FILE")
	case CertRefused:
		return Fix{Text: "see whether the certificate in " + u.key("--cert", "ssl.keystore.location", "ssl.certificate.location") +
			" has expired, is for clients, and is signed by an authority in the broker's ssl.truststore.location", Docs: docsCerts}
	case TLSVersion:
		return Fix{Text: "see the broker's ssl.enabled.protocols and ssl.cipher.suites: kproxy speaks TLS 1.2 and 1.3", Docs: docsCerts}
	case TLSName:
		return Fix{Text: "the broker does not know the name that it was asked for: say one that it knows, with --server-name NAME", Docs: docsCerts}
	default:
		return Fix{Text: "see the broker's log, which says why it ends the handshake", Docs: docsCerts}
	}
}

// switchTLS has the client speak TLS, or not.
func (c *Case) switchTLS(v Verdict) Fix {
	u := c.User
	if v == NoTLS {
		f := Fix{Docs: docsProtocols}
		f.Text = u.key("leave --tls out, or use the port that speaks TLS", "set security.protocol to "+u.protocolWith(false)+", or use the port that speaks TLS",
			"set security.protocol to "+u.protocolWith(false)+", or use the port that speaks TLS")
		f = c.client(f, "security.protocol="+u.protocolWith(false))
		if u.File == "" {
			f.Command = u.without(tlsFlags)
		}
		return f
	}
	cert := c.Peer.Cert
	known := cert == nil || cert.Trusted
	f := Fix{Docs: docsProtocols}
	lines, flags := []string{"security.protocol=" + u.protocolWith(true)}, []string{"--tls"}
	f.Text = u.key("add --tls", "set security.protocol to "+u.protocolWith(true), "set security.protocol to "+u.protocolWith(true))
	if !known {
		f.Text += u.key(" and --ca with the file of the authority's certificate: this system does not know it",
			", and ssl.truststore.location to the authority's certificate: this system does not know it",
			", and ssl.ca.location to the authority's certificate: this system does not know it")
		flags = append(flags, "--ca", "FILE")
		lines = append(lines, u.caLines()...)
	}
	return c.command(c.client(f, lines...), flags...)
}

// caLines name the file of an authority in the client's own keys.
func (u *User) caLines() []string {
	if u.Librdkafka {
		return []string{"ssl.ca.location=FILE"}
	}
	return []string{"ssl.truststore.type=PEM", "ssl.truststore.location=FILE"}
}

// tlsFlags are the flags that turn TLS on, with the number of values behind each.
var tlsFlags = map[string]int{"--tls": 0, "--insecure": 0, "--ca": 1, "--cert": 1, "--key": 1, "--server-name": 1}

// without is doctor's command line with the user's own arguments, with some flags replaced by others. Each flag has
// the number of its values.
func (u *User) without(flags map[string]int, more ...string) string {
	other := *u
	other.Args = nil
	for i := 0; i < len(u.Args); i++ {
		name, _, joined := strings.Cut(u.Args[i], "=")
		values, isOne := flags[name]
		if !isOne {
			other.Args = append(other.Args, u.Args[i])
		} else if !joined {
			i += values
		}
	}
	return other.Line("doctor", more...)
}

// trust has the client trust the authority that signed the broker's certificate.
func (c *Case) trust() Fix {
	u := c.User
	f := Fix{Docs: docsCerts}
	ca := u.key("--ca FILE", "ssl.truststore.location", "ssl.ca.location")
	what := "the certificate of the authority that issued it"
	cert := c.certificate()
	switch {
	case cert == nil:
	case cert.SelfSigned:
		what = "this certificate itself, if it is the broker's"
	default:
		what = "the certificate of " + cert.By() + ", which issued the broker's"
	}
	f.Text = fmt.Sprintf("name a file with %s: %s", what, ca)
	if u.Trusted != "" {
		f.Text = fmt.Sprintf("the file that is named is of another authority; name one with %s: %s", what, ca)
	}
	f.Text += ". The broker's administrator has such a file, often as ca.pem"
	if cert != nil && !cert.SelfSigned {
		f.Text += ". If that is an intermediate authority, have the broker show its whole chain (ssl.keystore.location)"
	}
	f = c.client(f, u.caLines()...)
	if u.File == "" {
		f.Command = u.without(map[string]int{"--ca": 1}, "--ca", "FILE")
	}
	return f
}

// fixName is for a certificate with other names.
func (c *Case) fixName() Fix {
	name := c.nameOfCertificate()
	if cert := c.certificate(); cert != nil && len(cert.Names) == 0 {
		return Fix{Text: "have the broker's certificate made anew, with the broker's host name as subjectAltName (keytool -ext SAN=dns:NAME)", Docs: docsCerts}
	}
	if c.IsBootstrap() {
		f := Fix{Text: "connect by a name that the certificate is for; if none of these leads there from here, have kproxy look for one in every broker's certificate: --server-name NAME", Docs: docsCerts}
		if name != "" && c.User.File == "" {
			f.Command = c.User.without(map[string]int{"--server-name": 1}, "--server-name", name)
		}
		return f
	}
	f := Fix{Text: "put the name that the broker advertises into its certificate, or have it advertise a name that the certificate is for", Docs: docsCerts}
	_, port, err := hostport.Parse(c.Address)
	if name == "" || err != nil {
		return f
	}
	f.Text = "have the broker advertise a name that the certificate is for, or put the name that it advertises into its certificate"
	return c.advertise(f, joinHost(name, port))
}

// nameOfCertificate is a host name that the broker's certificate is for; "": there is none that
// can be pasted.
func (c *Case) nameOfCertificate() string {
	cert := c.certificate()
	if cert == nil {
		return ""
	}
	i := slices.IndexFunc(cert.Names, func(name string) bool { return isTame(joinHost(name, 1)) })
	if i < 0 {
		return ""
	}
	return cert.Names[i]
}

// oneProtocol is for a broker whose advertised address is of another security protocol than the
// user's address.
func (c *Case) oneProtocol(v Verdict) Fix {
	protocol := c.User.Protocol()
	f := Fix{Docs: docsProtocols}
	f.Text = fmt.Sprintf("the listener that clients bootstrap at is %s, and the address that it advertises is of a port with%s. "+
		"Have it advertise its own port, or give all brokers the same protocol under one name in listener.security.protocol.map",
		protocol, map[Verdict]string{WantsTLS: " TLS", NoTLS: "out TLS", LoginWanted: " SASL", NoLogin: "out SASL"}[v])
	address := c.Working
	if address == "" {
		host, _, err := hostport.Parse(c.Address)
		if err != nil || !isTame(c.Address) {
			host = "HOST"
		}
		address = withPort(host, "PORT")
	}
	return c.advertise(f, address)
}
