package tlsconf

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kproxy/internal/certlab"
)

func TestServerConfigValidate(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*ServerConfig)
		want   string // empty: good
	}{
		{"good", func(*ServerConfig) {}, ""},
		{"no certificate", func(c *ServerConfig) { c.Certs = nil }, "certs: one is needed"},
		{"no key", func(c *ServerConfig) { c.Certs[0].Key = "" }, "certs[0]: both"},
		{"mode", func(c *ServerConfig) { c.ClientAuth = "maybe" }, `client_auth: "maybe"`},
		{"mode without CA", func(c *ServerConfig) { c.ClientCA, c.Subjects, c.ClientAuth = "", nil, Required }, "client_auth: client_ca is needed"},
		{"subjects without CA", func(c *ServerConfig) { c.ClientCA = "" }, "subjects: client_ca is needed"},
		{"ticket key", func(c *ServerConfig) { c.TicketKeys = []string{""} }, "ticket_keys"},
		{"TLS 1.1", func(c *ServerConfig) { c.MinVersion = "1.1" }, `min_version: "1.1"`},
		{"no subject", func(c *ServerConfig) { c.Subjects = []string{"CN=a", "app-1"} }, `subjects[1]: "app-1"`},
		{"no attribute", func(c *ServerConfig) { c.Subjects = []string{"NAME=a"} }, "NAME is no attribute"},
		{"no value", func(c *ServerConfig) { c.Subjects = []string{"CN="} }, "CN has no value"},
		{"trailing comma", func(c *ServerConfig) { c.Subjects = []string{"CN=a,"} }, "of the form"},
	} {
		c := ServerConfig{
			Certs:    []KeyPair{{Cert: "edge.pem", Key: "edge.key"}},
			ClientCA: "clients.pem",
			Subjects: []string{"cn=app-*, 2.5.4.10=a\\,b"},
		}
		row.change(&c)
		wantProblem(t, row.name, c.Validate(), row.want)
	}
}

func TestClientConfigValidate(t *testing.T) {
	for _, row := range []struct {
		config ClientConfig
		want   string
	}{
		{ClientConfig{}, ""},
		{ClientConfig{CA: "ca.pem", Cert: "c.pem", Key: "k.pem", MinVersion: "1.3"}, ""},
		{ClientConfig{Cert: "c.pem"}, "cert: it and key"},
		{ClientConfig{Key: "k.pem"}, "cert: it and key"},
		{ClientConfig{CA: "ca.pem", InsecureSkipVerify: true}, "ca: it verifies nothing"},
		{ClientConfig{MinVersion: "TLSv1.2"}, "min_version"},
	} {
		wantProblem(t, fmt.Sprintf("%+v", row.config), row.config.Validate(), row.want)
		if row.want != "" {
			if _, err := NewClient(row.config, Events{}); err == nil {
				t.Errorf("%+v makes a Client", row.config)
			}
		}
	}
}

func wantProblem(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: error %v, want one with %q", name, err, want)
	}
}

func TestSubjects(t *testing.T) {
	app := pkix.Name{CommonName: "app-1", Organization: []string{"example"}, OrganizationalUnit: []string{"a", "b"}}
	oid := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	for _, row := range []struct {
		pattern string
		subject pkix.Name
		want    bool
	}{
		{"CN=app-*,O=example", app, true},
		{"O=example,CN=app-*", app, true},
		{"CN=app-*", app, true},
		{"CN=app", app, false},
		{"CN=pp-1", app, false},
		{"CN=APP-1", app, false},
		{"CN=app-*,O=other", app, false},
		{"CN=app-*,C=*", app, false},
		{"CN=app.1", app, false},
		{"OU=a", app, false},
		{"OU=a,OU=b", app, true},
		{"OU=*", app, true},
		{"CN=*", pkix.Name{}, false},
		{"CN=app-*,O=example", pkix.Name{CommonName: "app-1,O=example"}, false},
		{"CN=app-*", pkix.Name{CommonName: "root\napp-1"}, false},
		{"CN=*-1", pkix.Name{CommonName: "root\napp-1"}, true},
		{`CN=a\,b`, pkix.Name{CommonName: "a,b"}, true},
		{`CN=a\*`, pkix.Name{CommonName: "a*"}, true},
		{`CN=a\*`, pkix.Name{CommonName: "ab"}, false},
		{`CN=a\`, pkix.Name{CommonName: `a\`}, true},
		{"CN=app-1", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "app-1"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "root"},
		}}, false},
		{"uid=x", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oid, Value: "x"}}}, true},
		{"0.9.2342.19200300.100.1.1=x", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oid, Value: "x"}}}, true},
		{"uid=*", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oid, Value: 7}}}, false},
	} {
		patterns, err := compileSubjects([]string{"CN=nobody", row.pattern})
		if err != nil {
			t.Fatal(err)
		}
		sequence := row.subject.ToRDNSequence()
		var name pkix.Name
		name.FillFromRDNSequence(&sequence)
		err = patterns.check(&x509.Certificate{Subject: name})
		if (err == nil) != row.want {
			t.Errorf("%s and %s: %v, want %t", row.pattern, row.subject, err, row.want)
		}
	}
}

func TestUncovered(t *testing.T) {
	f, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	s := mustServer(t, ServerConfig{Certs: []KeyPair{
		pairOf(t, f, "first", ca.Issue(t, nil, "kafka.example.com", "10.0.0.1", "::1")),
		pairOf(t, f, "second", ca.Issue(t, nil, "*.kafka.example.com", "10.0.0.2")),
		pairOf(t, f, "bare", ca.Issue(t, func(c *x509.Certificate) { c.DNSNames = nil }, "bare.example.com")),
	}}, Events{})
	hosts := []string{
		"kafka.example.com", "KAFKA.example.com", "b0.kafka.example.com", "10.0.0.1", "::1",
		"b0.a.kafka.example.com", "example.com", "bare.example.com", "10.0.0.3",
		"10.0.0.2", // of a certificate that no client gets unless it asks for the name
	}
	if got, want := s.Uncovered(hosts), hosts[5:]; !slices.Equal(got, want) {
		t.Errorf("uncovered %q, want %q", got, want)
	}
	if len(hosts) != 10 || hosts[0] != "kafka.example.com" {
		t.Error("the list has been changed")
	}
}

// Some editors put a BOM in front of a file.
func TestFilesWithBOM(t *testing.T) {
	f, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	id := ca.Issue(t, nil, "kafka.example.com")
	bom := func(name string, data []byte) string { return f.Write(t, name, append([]byte("\ufeff"), data...)) }
	mustServer(t, ServerConfig{
		Certs:    []KeyPair{{Cert: bom("edge.pem", id.CertPEM), Key: bom("edge.key", id.KeyPEM)}},
		ClientCA: bom("ca.pem", ca.PEM), ClientAuth: "required",
	}, Events{})
}

// TestErrorsHoldNoSecret uses files with each kind of mistake, with a text in them that
// no error may show.
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "correct horse battery"
	f, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	good := pairOf(t, f, "good", ca.Issue(t, nil, "kafka.example.com"))
	texts := []string{
		secret,
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(secret)})),
		"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n",
	}
	for i, text := range texts {
		bad := f.Write(t, fmt.Sprintf("bad-%d", i), []byte(text))
		for _, c := range []ServerConfig{
			{Certs: []KeyPair{{Cert: good.Cert, Key: bad}}},
			{Certs: []KeyPair{{Cert: bad, Key: good.Key}}},
			{Certs: []KeyPair{good}, ClientCA: bad},
			{Certs: []KeyPair{good}, TicketKeys: []string{f.Write(t, "short", []byte(secret))}},
		} {
			_, err := NewServer(c, Events{})
			if err == nil || strings.Contains(err.Error(), "horse") {
				t.Errorf("%+v: error %v, want one without the secret", c, err)
			}
		}
		if _, err := NewClient(ClientConfig{CA: bad}, Events{}); err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("ca: error %v, want one without the secret", err)
		}
	}
}

func TestEveryFailureHasItsOwnWord(t *testing.T) {
	err := newError(downstream, Timeout, errors.New("late"))
	if got, want := err.Error(), "tls_timeout: late"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	for failure, advice := range advices {
		if advice[downstream] == "" && advice[upstream] == "" {
			t.Errorf("%s has no advice", failure)
		}
	}
}
