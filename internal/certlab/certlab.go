// Package certlab makes certificates for tests: an [Authority] issues [Identity]s,
// which can be written to files.
package certlab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// T is the part of [testing.T] that this package uses. A program that is no test may pass
// its own.
type T interface {
	Helper()
	Fatal(args ...any)
	TempDir() string
}

// Authority is a CA of a test's own.
type Authority struct {
	Cert *x509.Certificate
	PEM  []byte

	key crypto.Signer
}

// Identity is a certificate of one, with its key.
type Identity struct {
	CertPEM, KeyPEM []byte
	Pair            tls.Certificate
}

// NewAuthority makes a CA with a common name.
func NewAuthority(t T, name string) *Authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name},
		// Tests may have clocks of their own (testing/synctest).
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	key := NewKey(t)
	der := sign(t, template, template, key, key)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Cert: cert, PEM: PEM("CERTIFICATE", der), key: key}
}

// Issue makes a certificate for the names and addresses, the first of them its
// common name. change, which may be nil, is made to it before it is signed.
func (a *Authority) Issue(t T, change func(*x509.Certificate), names ...string) Identity {
	t.Helper()
	return a.IssueFor(t, NewKey(t), change, names...)
}

// IssueFor makes a certificate for a key.
func (a *Authority) IssueFor(t T, key crypto.Signer, change func(*x509.Certificate), names ...string) Identity {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(365 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(names) > 0 {
		template.Subject = pkix.Name{CommonName: names[0], Organization: []string{"example"}}
	}
	if change != nil {
		change(template)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{
		CertPEM: PEM("CERTIFICATE", sign(t, template, a.Cert, key, a.key)),
		KeyPEM:  PEM("PRIVATE KEY", private),
	}
	if id.Pair, err = tls.X509KeyPair(id.CertPEM, id.KeyPEM); err != nil {
		t.Fatal(err)
	}
	return id
}

// Authority is the identity as an intermediate CA.
func (i Identity) Authority() *Authority {
	return &Authority{Cert: i.Pair.Leaf, PEM: i.CertPEM, key: i.Pair.PrivateKey.(crypto.Signer)}
}

// Pool is the CA alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Expired makes a certificate, for Issue, an expired one.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

// NewKey makes a private key (ECDSA, P-256).
func NewKey(t T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t T, template, parent *x509.Certificate, key, signer crypto.Signer) []byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// PEM is a block of one kind.
func PEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Folder is where a test's files are.
type Folder string

// NewFolder makes one that is removed after the test.
func NewFolder(t T) Folder {
	t.Helper()
	return Folder(t.TempDir())
}

// Write writes a file, in one step in the place of the one before, and returns its
// path. A watch of the file never sees half of it.
func (f Folder) Write(t T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(string(f), name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Pair writes name.pem and name.key.
func (f Folder) Pair(t T, name string, id Identity) (cert, key string) {
	t.Helper()
	return f.Write(t, name+".pem", id.CertPEM), f.Write(t, name+".key", id.KeyPEM)
}
