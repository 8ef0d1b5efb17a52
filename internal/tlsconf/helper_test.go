package tlsconf

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen before it says so.
const patience = 20 * time.Second

// authority is a CA of a test's own.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// identity is a certificate of one, with its key.
type identity struct {
	certPEM, keyPEM []byte
	pair            tls.Certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(10 * 365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	key := newKey(t)
	der := sign(t, template, template, key, key)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: pemOf("CERTIFICATE", der)}
}

// issue makes a certificate for the names, the first of them its common name.
// change, which may be nil, is made to it before it is signed.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate), names ...string) identity {
	t.Helper()
	return a.issueFor(t, newKey(t), change, names...)
}

func (a *authority) issueFor(t *testing.T, key crypto.Signer, change func(*x509.Certificate), names ...string) identity {
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
	id := identity{
		certPEM: pemOf("CERTIFICATE", sign(t, template, a.cert, key, a.key)),
		keyPEM:  pemOf("PRIVATE KEY", private),
	}
	if id.pair, err = tls.X509KeyPair(id.certPEM, id.keyPEM); err != nil {
		t.Fatal(err)
	}
	return id
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func sign(t *testing.T, template, parent *x509.Certificate, key, signer crypto.Signer) []byte {
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

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSAKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

// folder is where a test's files are.
type folder string

func newFolder(t *testing.T) folder {
	t.Helper()
	return folder(t.TempDir())
}

func (f folder) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(string(f), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f folder) pair(t *testing.T, name string, id identity) KeyPair {
	t.Helper()
	return KeyPair{Cert: f.write(t, name+".pem", id.certPEM), Key: f.write(t, name+".key", id.keyPEM)}
}

func mustServer(t *testing.T, c ServerConfig, events Events) *Server {
	t.Helper()
	s, err := NewServer(c, events)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClient(t *testing.T, c ClientConfig, events Events) *Client {
	t.Helper()
	client, err := NewClient(c, events)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// tcpPair is the two ends of a connection over loopback, closed after the test.
// The order of closing loses no alert.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	end := time.Now().Add(patience)
	for _, conn := range []net.Conn{near, far} {
		if err := conn.SetDeadline(end); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

func always(s *Server) func(string) (*Server, error) {
	return func(string) (*Server, error) { return s, nil }
}

// meeting is what came of a handshake at both sides.
type meeting struct {
	server, client           error
	serverState, clientState tls.ConnectionState
}

// meet has a client of crypto/tls come to Accept, and the server say one byte,
// so that what TLS 1.3 says after the handshake arrives, tickets and verdicts.
func meet(t *testing.T, route func(string) (*Server, error), config *tls.Config) meeting {
	t.Helper()
	near, far := tcpPair(t)
	return meetOver(t, near, far, route, config)
}

func meetOver(t *testing.T, near, far net.Conn, route func(string) (*Server, error), config *tls.Config) meeting {
	t.Helper()
	var m meeting
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conn *tls.Conn
		if conn, m.server = Accept(deadline(t), far, route); m.server == nil {
			m.serverState = conn.ConnectionState()
			_, m.server = conn.Write([]byte{1})
		}
	}()
	client := tls.Client(near, config)
	if m.client = client.HandshakeContext(deadline(t)); m.client == nil {
		_, m.client = client.Read(make([]byte, 1))
		m.clientState = client.ConnectionState()
	}
	<-done
	return m
}

func mustMeet(t *testing.T, s *Server, config *tls.Config) meeting {
	t.Helper()
	m := meet(t, always(s), config)
	if m.server != nil || m.client != nil {
		t.Fatalf("handshake: server %v, client %v", m.server, m.client)
	}
	return m
}

// wantFailure checks why a handshake failed.
func wantFailure(t *testing.T, err error, want Failure) {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *Error of %s", err, err, want)
	}
	if failed.Failure != want {
		t.Errorf("failure %s (%v), want %s", failed.Failure, failed.Err, want)
	}
	if want != Other && failed.Advice == "" {
		t.Errorf("failure %s has no advice", want)
	}
}

// wantAlert checks what the other side was told.
func wantAlert(t *testing.T, err error, want tls.AlertError) {
	t.Helper()
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" || remote.Err.Error() != want.Error() {
		t.Errorf("the other side sees %v, want the alert %q", err, want.Error())
	}
}
