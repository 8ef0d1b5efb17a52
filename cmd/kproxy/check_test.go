package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"kproxy/internal/certlab"
)

// check reads certificates, and reports advertised names that they do not cover before
// any client meets them.
func TestCheckReadsCertificates(t *testing.T) {
	ca, files := certlab.NewAuthority(t, "servers"), certlab.NewFolder(t)
	soon := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(48 * time.Hour) }
	for _, tt := range []struct {
		name   string
		id     certlab.Identity
		client string // client_ca
		want   string // of the error; "": good
		warn   string
	}{
		{"good", ca.Issue(t, nil, "kafka.test", "*.kafka.test"), "", "", ""},
		{"ends soon", ca.Issue(t, soon, "kafka.test", "*.kafka.test"), "", "", "a certificate ends soon"},
		{"has ended", ca.Issue(t, certlab.Expired, "kafka.test", "*.kafka.test"), "", "", "a certificate has ended"},
		{"other names", ca.Issue(t, nil, "kafka.test"), "", "clusters.orders.listeners.edge.tls.certs: no certificate is for b0.kafka.test, as advertised; have one", ""},
		{"no such CA", ca.Issue(t, nil, "kafka.test"), "nowhere.pem", "clusters.orders.listeners.edge.tls.client_ca: open nowhere.pem", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := files.Pair(t, "edge", tt.id)
			file := write(t, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [b0.internal:9092]
    listeners:
      edge:
        bind: 0.0.0.0:9093
        advertise: kafka.test:443
        nodes: {sni: "b{node}.kafka.test:443"}
        tls: {certs: [{cert: %q, key: %q}], client_ca: %q}
`, cert, key, tt.client))
			var stdout, stderr bytes.Buffer
			err := check(t.Context(), file, &stdout, &stderr)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want == "" && !strings.Contains(stdout.String(), "each"):
				t.Errorf("the plan has no line for the nodes: %s", stdout.String())
			case tt.want != "" && (err == nil || !strings.HasPrefix(withoutPlaces(file, err), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if !strings.Contains(stderr.String(), tt.warn) || tt.warn == "" && stderr.Len() > 0 {
				t.Errorf("stderr is %q, want %q in it", stderr.String(), tt.warn)
			}
		})
	}
}

// check reads the files of the admin server, too.
func TestCheckReadsAdminFiles(t *testing.T) {
	files := certlab.NewFolder(t)
	cert, key := files.Pair(t, "admin", certlab.NewAuthority(t, "admins").Issue(t, nil, "admin.test"))
	token := files.Write(t, "token", []byte("0123456789abcdef"))
	for keys, want := range map[string]string{
		fmt.Sprintf("token_file: %q, tls: {cert: %q, key: %q}", token, cert, key): "",
		`token_file: nowhere`:                "admin.token_file: open nowhere: ",
		`tls: {cert: nowhere, key: nowhere}`: "admin.tls.cert: open nowhere: ",
	} {
		file := write(t, oneListener+"admin: {bind: 127.0.0.1:9400, "+keys+"}\n")
		var stdout, stderr bytes.Buffer
		switch err := check(t.Context(), file, &stdout, &stderr); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.HasPrefix(withoutPlaces(file, err), want)):
			t.Errorf("%s: got %v, want %s", keys, err, want)
		}
	}
}
