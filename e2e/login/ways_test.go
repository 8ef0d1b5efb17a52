//go:build e2e

package login

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"kproxy/internal/auth"
)

// mode says which side logs in at which.
type mode string

const (
	passed   mode = "passed"   // the client at the broker, through kproxy
	byKproxy mode = "byKproxy" // kproxy at the broker, the client nowhere
	atKproxy mode = "atKproxy" // the client at kproxy, which logs in at the broker if that wants it
)

// mechanisms are those that Kafka serves without another service, and their names in
// kproxy's configuration.
var mechanisms = map[string]string{
	auth.Plain: "plain", auth.ScramSHA256: "scram256", auth.ScramSHA512: "scram512", auth.OAuthBearer: "oauth",
}

// way is one way to the broker.
type way struct {
	security  string // of the broker's listener; where it is in TLS, kproxy's is too
	mode      mode
	mechanism string // of the login; "" without a login
}

// ways are all that there are.
func ways() []way {
	var all []way
	for _, security := range []string{"SASL_PLAINTEXT", "SASL_SSL"} {
		for _, mechanism := range []string{auth.Plain, auth.ScramSHA256, auth.ScramSHA512, auth.OAuthBearer} {
			all = append(all, way{security, passed, mechanism}, way{security, byKproxy, mechanism})
		}
	}
	all = append(all, way{"SSL", passed, ""})
	for _, security := range []string{"SASL_PLAINTEXT", "SASL_SSL", "SSL"} {
		for _, mechanism := range []string{auth.Plain, auth.ScramSHA256, auth.ScramSHA512} {
			all = append(all, way{security, atKproxy, mechanism})
		}
	}
	return all
}

func (w way) String() string {
	return strings.Trim(fmt.Sprintf("%s-%s-%s", w.security, w.mode, w.mechanism), "-")
}

// door is kproxy's listener of the way, by its cluster's name and its own.
func (w way) door() (cluster, listener string) {
	switch {
	case w.mode == atKproxy && w.security == "SSL":
		return clusterName(w.security, ""), "locked"
	case w.mode == atKproxy:
		return clusterName(w.security, auth.ScramSHA512), "locked"
	case w.mode == byKproxy:
		return clusterName(w.security, w.mechanism), "open"
	default:
		return clusterName(w.security, ""), "open"
	}
}

// clusterName is that of the broker in kproxy's configuration, with a mechanism by which
// kproxy logs in, or with none.
func clusterName(security, mechanism string) string {
	name := strings.ReplaceAll(strings.ToLower(security), "_", "-")
	if mechanism == "" {
		return name
	}
	return name + "-" + mechanisms[mechanism]
}

// access has the settings of a client.
type access struct {
	id       string // client.id, by which kproxy's log knows it
	address  string
	protocol string // security.protocol

	mechanism, user, password string // mechanism is "" where the client does not log in

	ca   string         // file, where protocol is TLS
	pool *x509.CertPool // the same

	// stray is an address that the client was about to dial and that is not the
	// listener's.
	stray atomic.Pointer[string]
}

// access returns the settings of a client for a way.
func (s *site) access(w way, id string) *access {
	a := &access{id: id, address: s.address(w.door()), protocol: "PLAINTEXT", ca: s.pki.ca, pool: s.pki.pool}
	sasl := ""
	switch {
	case w.mode == passed && w.mechanism != "":
		sasl, a.user, a.password = "SASL_", username, password
	case w.mode == atKproxy:
		sasl, a.user, a.password = "SASL_", alice, alicePassword
	}
	if sasl != "" {
		a.mechanism = w.mechanism
	}
	if w.inTLS() {
		a.protocol = "SSL"
	}
	a.protocol = sasl + a.protocol
	return a
}

func (w way) inTLS() bool { return strings.HasSuffix(w.security, "SSL") }

func (a *access) inTLS() bool { return strings.HasSuffix(a.protocol, "SSL") }

// dial refuses each address that is not the listener's.
func (a *access) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !a.leadsTo(address) {
		a.stray.Store(&address)
		return nil, fmt.Errorf("%s is not an address of kproxy's at %s", address, a.address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Dial is for sarama, which knows no context there.
func (a *access) Dial(network, address string) (net.Conn, error) {
	return a.dial(context.Background(), network, address)
}

func (a *access) leadsTo(address string) bool {
	host, port := split(address)
	ownHost, own := split(a.address)
	return host == ownHost && own <= port && port <= own+lastNode
}

func split(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", -1
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return "", -1
	}
	return host, port
}

// checkStray fails the test if the client got an address that is not kproxy's.
func (a *access) checkStray(t *testing.T) {
	t.Helper()
	if stray := a.stray.Load(); stray != nil {
		t.Errorf("%s was led to %s, which is not kproxy", a.id, *stray)
	}
}
