//go:build e2e

package login

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/auth"
)

// lastNode is the highest id of a broker that has a port at a listener.
const lastNode = 5

// token is a token without a signature, which a broker without an issuer accepts.
func token(subject string, life time.Duration) string {
	segment := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	return segment([]byte(`{"alg":"none"}`)) + "." +
		segment(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, subject, now.Add(-time.Hour).Unix(), now.Add(life).Unix())) + "."
}

// address is that of a listener of kproxy's.
func (s *site) address(cluster, listener string) string {
	address, ok := s.listeners[cluster+"/"+listener]
	if !ok {
		panic("kproxy has no listener " + listener + " of " + cluster)
	}
	return address
}

// configuration is kproxy's: the one broker, as a cluster for each of its listeners and
// each login of kproxy's at it.
func (s *site) configuration(t *testing.T, block func() int) string {
	t.Helper()
	file := func(name, text string) string { return s.pki.folder.Write(t, name, []byte(text)) }
	var users strings.Builder
	for _, mechanism := range []string{auth.ScramSHA256, auth.ScramSHA512} {
		line, err := auth.UserLine(alice, alicePassword, mechanism, auth.DefaultIterations)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&users, line)
	}
	locked := fmt.Sprintf("login: {mechanisms: [PLAIN, SCRAM-SHA-256, SCRAM-SHA-512], users_file: %q}", file("users", users.String()))
	passwordFile, tokenFile := file("password", password+"\n"), file("token", token(username, time.Hour))
	credentials := func(mechanism string) string {
		switch mechanism {
		case "":
			return ""
		case auth.OAuthBearer:
			return fmt.Sprintf("    sasl: {mechanism: %s, oauth: {token_file: %q}}\n", mechanism, tokenFile)
		default:
			return fmt.Sprintf("    sasl: {mechanism: %s, username: %s, password_file: %q}\n", mechanism, username, passwordFile)
		}
	}
	var yaml strings.Builder
	yaml.WriteString("clusters:\n")
	cluster := func(name, security, login string, listeners map[string]string) {
		fmt.Fprintf(&yaml, "  %s:\n    bootstrap: [%q]\n    dial: [{match: %[2]q, to: %q}]\n%s", name, s.advertised[security], s.broker[security], login)
		encrypt := ""
		if strings.HasSuffix(security, "SSL") {
			fmt.Fprintf(&yaml, "    tls: {ca: %q}\n", s.pki.ca)
			encrypt = fmt.Sprintf(", tls: {certs: [{cert: %q, key: %q}]}", s.pki.cert, s.pki.key)
		}
		yaml.WriteString("    listeners:\n")
		for _, listener := range slices.Sorted(maps.Keys(listeners)) {
			base := block()
			address := lab.HostPort("127.0.0.1", base)
			s.listeners[name+"/"+listener] = address
			fmt.Fprintf(&yaml, "      %s: {bind: %q, nodes: {ports: %d-%d, first_node: 1}%s%s}\n", listener, address, base+1, base+lastNode, encrypt, prefixed(listeners[listener]))
		}
	}
	for _, security := range slices.Sorted(maps.Keys(s.broker)) {
		logins := slices.Sorted(maps.Keys(mechanisms))
		if security == "SSL" {
			logins = nil
		}
		for _, mechanism := range append(logins, "") {
			listeners := map[string]string{"open": ""}
			if security == "SSL" || mechanism == auth.ScramSHA512 {
				listeners["locked"] = locked
			}
			if security == "SASL_PLAINTEXT" && mechanism == auth.ScramSHA512 {
				listeners["readers"] = "apis: {preset: read-only}"
			}
			cluster(clusterName(security, mechanism), security, credentials(mechanism), listeners)
		}
	}
	wrong := fmt.Sprintf("    sasl: {mechanism: PLAIN, username: %s, password_file: %q}\n", username, file("wrong", "wrong"))
	cluster("refused", "SASL_PLAINTEXT", wrong, map[string]string{"open": ""})
	yaml.WriteString("log: {format: json}\n")
	return yaml.String()
}

func prefixed(setting string) string {
	if setting == "" {
		return ""
	}
	return ", " + setting
}
