package tlsconf

import (
	"crypto/x509"
	"fmt"
	"strings"

	"kproxy/internal/foreign"
)

// The advice that depends on more than the failure and the side.
const (
	adviceNames           = "the broker's certificate is for %s; if it is the right one, set the cluster's tls.server_name to one of these"
	advicePlaintextBroker = "a port without TLS closes like this: take tls from the cluster, or give the brokers' TLS port"
	adviceBrokerWantsOne  = "the broker wants a certificate: set the cluster's tls.cert and tls.key"
)

// advices are the advice to the reader of the log, where the other side is a client and
// where it is a broker.
var advices = map[Failure][2]string{
	NotTLS: {
		downstream: "the client speaks plaintext to a TLS port: set its security.protocol to SSL or SASL_SSL",
		upstream:   "the broker speaks plaintext at this port: take tls from the cluster, or give the brokers' TLS port",
	},
	CertificateRefused: {
		downstream: "the client does not trust the listener's certificate: give the client the CA that signed it, and the listener the whole chain; see that neither has expired",
		upstream:   "the broker does not take the client certificate: see that its CA is in the broker's truststore and that it has not expired",
	},
	NoCertificate: {
		downstream: "the client shows no certificate: give it one (ssl.keystore), or set the listener's client_auth to requested",
		upstream:   adviceBrokerWantsOne,
	},
	Untrusted: {
		downstream: "the client's certificate leads to no CA of the listener's client_ca, or is not for clients: add its CA there if the client is to come in, and see that the client sends its intermediates",
		upstream:   "the broker's certificate leads to no CA that is trusted: set the cluster's tls.ca to the CA that signed it",
	},
	Expired: {
		downstream: "the client's certificate has expired, or is not valid yet: renew it, or set the clocks",
		upstream:   "the broker's certificate has expired, or is not valid yet: renew it, or set the clocks",
	},
	SubjectRefused: {
		downstream: "if the client is to come in, add its subject to the listener's subjects",
	},
	VersionRefused: {
		downstream: "the client has no TLS version or cipher in common with the listener: update the client, or see the listener's min_version",
		upstream:   "the broker has no TLS version or cipher in common with kproxy, or wants a certificate: see the broker's ssl.enabled.protocols and ssl.client.auth",
	},
	UnknownName: {
		downstream: "see that the name that the client asks for is one of a listener's, or set unknown_sni to bootstrap",
		upstream:   "the broker does not know the name that it was asked for: set the cluster's tls.server_name",
	},
	NoName: {
		downstream: "the client connects to an address, or hides the name: tell it the listener's advertised name, or set unknown_sni to bootstrap",
	},
	Timeout: {
		downstream: "the client did not finish within handshake_timeout: a health check, a slow network, or a port that is not meant",
		upstream:   "the broker did not finish in time: see that it is well, and that the port is its TLS port",
	},
	Ended: {
		downstream: "the client closed: a health check or a port scan; some clients do it when they do not trust the certificate",
		upstream:   "the broker closed: see its log, where it says why",
	},
}

// The limits on a certificate's names in a log line: their number, and the characters of
// each.
const (
	maxNamesShown = 10
	maxNameShown  = 80
)

// namesText lists a certificate's names, quoted: they come from a peer.
func namesText(certificate *x509.Certificate) string {
	names := namesOf(certificate)
	if len(names) == 0 {
		return "no name (a common name does not count)"
	}
	shown := make([]string, 0, maxNamesShown)
	for _, name := range names[:min(len(names), maxNamesShown)] {
		shown = append(shown, `"`+foreign.LineOf(name, maxNameShown)+`"`)
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}
