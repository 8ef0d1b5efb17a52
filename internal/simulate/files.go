package simulate

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"strings"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/certlab"
)

// Files are those of the proxies of many runs: certificates, and the users who may log in.
type Files struct {
	authorities *x509.CertPool
	ca          string
	certs       [2]struct{ cert, key string } // a reload goes from one to the other
	broker      tls.Certificate
	users       string
	roster      map[string]*users // by SCRAM's mechanism
}

// NewFiles writes them into a directory of the test's.
func NewFiles(t certlab.T) *Files {
	t.Helper()
	folder, authority := certlab.NewFolder(t), certlab.NewAuthority(t, "simulated")
	valid := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = authority.Cert.NotBefore, authority.Cert.NotAfter }
	var names []string
	for _, l := range listeners {
		names = append(names, l.host)
	}
	f := &Files{authorities: authority.Pool(), ca: folder.Write(t, "ca.pem", authority.PEM)}
	f.broker = authority.Issue(t, valid, "*"+brokerDomain).Pair
	for i := range f.certs {
		f.certs[i].cert, f.certs[i].key = folder.Pair(t, "cert"+strconv.Itoa(i), authority.Issue(t, valid, names...))
	}
	var lines strings.Builder
	f.roster = map[string]*users{}
	for mechanism, hash := range scramHashes {
		line, err := auth.UserLine(clientUser, password, mechanism, auth.MinIterations)
		if err == nil {
			f.roster[mechanism], err = newUsers(hash)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(line + "\n")
	}
	f.users = folder.Write(t, "users", []byte(lines.String()))
	return f
}

// toKproxy is the TLS of a client. now is the clock of its run.
func (f *Files) toKproxy(host string) *tls.Config {
	return &tls.Config{RootCAs: f.authorities, ServerName: host, Time: time.Now, MinVersion: tls.VersionTLS12}
}

// ofBroker is the TLS of a broker.
func (f *Files) ofBroker() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{f.broker}, MinVersion: tls.VersionTLS12}
}
