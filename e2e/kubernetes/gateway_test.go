//go:build e2e && linux

package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const (
	// gatewayName is the name that clients of the Gateway bootstrap from. dnsmasq leads it, and the names below
	// it, to gateway.
	gatewayName = "gateway.example.com"
	gateway     = "10.99.0.101"
)

// The chart's mode gateway. The API server has the definitions of the Gateway API, and evaluates their rules.
// HAProxy is in the place of an implementation: its rules are made from the TLSRoute that the API server has.
func TestGateway(t *testing.T) {
	brokers(t)
	ca := certlab.NewAuthority(t, "ca")
	id := ca.Issue(t, nil, gatewayName, "*."+gatewayName)
	secrets(t, "gateway-example-com", "kubernetes.io/tls", map[string][]byte{"tls.crt": id.CertPEM, "tls.key": id.KeyPEM})
	release(t, "gateway", common+`
exposure: {mode: gateway, gateway: {className: lab}}
clusters:
  orders:
    bootstrap: ["`+node+`:19092"]
    certificate: {secret: gateway-example-com}
    listener: {advertise: "`+gatewayName+`:443"}
`)
	t.Cleanup(func() { uninstall(t, "gateway") })
	if _, err := kubectl(t.Context(), "patch", "tlsroute", "gateway-kproxy-orders", "--type=merge", "--dry-run=server", "-p", `{"spec": {"hostnames": ["10.0.0.1"]}}`); err == nil {
		t.Error("a TLSRoute for an IP address is valid: the definition's rules are not evaluated")
	}
	standIn(t)

	c := &crowd{recorder: history.NewRecorder(0), tls: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}, advertised: advertised(gatewayName)}
	client, err := kgo.NewClient(kgo.SeedBrokers(gatewayName+":443"), kgo.Dialer(c.dial), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := sendAndRead(ctx, client); err != nil {
		t.Fatal(err)
	}
	if len(c.strange) > 0 {
		t.Errorf("the client got %q", c.strange)
	}
	// Each broker has a connection of its own behind the wildcard, and another name leads nowhere.
	for _, name := range []string{"b0." + gatewayName, "b2." + gatewayName} {
		if err := handshake(t.Context(), c.tls, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}, "b0.other.example.com"); err == nil {
		t.Error("a name that is not in the TLSRoute leads to kproxy")
	}
}

// handshake does a TLS handshake at the stand-in.
func handshake(ctx context.Context, config *tls.Config, name string) error {
	config = config.Clone()
	config.ServerName = name
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", gateway+":443")
	if err != nil {
		return err
	}
	return conn.Close()
}

// standIn starts HAProxy as the Gateway of the only TLSRoute, until the end of the test.
func standIn(t *testing.T) {
	t.Helper()
	var route struct {
		Spec struct {
			Hostnames  []string
			ParentRefs []struct{ Name, SectionName string }
			Rules      []struct {
				BackendRefs []struct {
					Name string
					Port int
				}
			}
		}
	}
	var parent struct {
		Spec struct {
			Listeners []struct {
				Name, Protocol string
				Port           int
				TLS            struct{ Mode string }
			}
		}
	}
	object(t, &route, "tlsroute", "gateway-kproxy-orders")
	object(t, &parent, "gateway", route.Spec.ParentRefs[0].Name)
	listener, backend := parent.Spec.Listeners[0], route.Spec.Rules[0].BackendRefs[0]
	if listener.Name != route.Spec.ParentRefs[0].SectionName || listener.Protocol != "TLS" || listener.TLS.Mode != "Passthrough" {
		t.Fatalf("the listener is %+v, and the route's parent %+v", listener, route.Spec.ParentRefs[0])
	}
	address, err := kubectl(t.Context(), "get", "service", backend.Name, "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	for _, host := range route.Spec.Hostnames {
		match := "-i " + host
		if suffix, ok := strings.CutPrefix(host, "*"); ok {
			match = "-i -m end " + suffix
		}
		fmt.Fprintf(&rules, "  use_backend kproxy if { req.ssl_sni %s }\n", match)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, `defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend gateway
  bind %s:%d
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
%sbackend kproxy
  server kproxy %s:%d
`, gateway, listener.Port, rules.String(), address, backend.Port), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := shell(t.Context(), "ip addr replace "+gateway+"/24 dev node0"); err != nil {
		t.Fatal(err)
	}
	program, err := lab.Tool("haproxy", "HAProxy (Debian: apt-get install haproxy)")
	if err != nil {
		t.Fatal(err)
	}
	p, err := lab.StartProcess("haproxy", filepath.Join(site.dir, "haproxy.log"), lab.Command(t.Context(), program, "-db", "-f", file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
}

// object reads an object of Kubernetes.
func object(t *testing.T, into any, kind, name string) {
	t.Helper()
	out, err := kubectl(t.Context(), "get", kind, name, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
