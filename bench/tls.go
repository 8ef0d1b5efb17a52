//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// tlsSides says on which sides of a target TLS is spoken.
type tlsSides string

const (
	noTLS   tlsSides = ""
	tlsDown tlsSides = "down" // by the client
	tlsUp   tlsSides = "up"   // by the broker
	tlsBoth tlsSides = "both"
)

func (s tlsSides) down() bool { return s == tlsDown || s == tlsBoth }
func (s tlsSides) up() bool   { return s == tlsUp || s == tlsBoth }

// Text is for people.
func (s tlsSides) Text() string {
	switch s {
	case tlsDown:
		return "TLS to clients"
	case tlsUp:
		return "TLS to brokers"
	case tlsBoth:
		return "TLS on both sides"
	case noTLS:
	}
	return "no TLS"
}

// All use one version and one cipher; otherwise the ciphers would be compared. OpenSSL
// has an option for it. Go has none, and chooses this cipher on a processor with AES
// instructions. Both ends of the suite check the result.
const (
	tlsVersion   = tls.VersionTLS13
	tlsSuite     = tls.TLS_AES_128_GCM_SHA256
	tlsSuiteName = "TLS_AES_128_GCM_SHA256" // to OpenSSL and to Go alike
	tlsName      = "bench.test"             // in the certificate, beside 127.0.0.1
)

// keyFiles are the one certificate and key of all TLS servers: the target, and
// the broker behind it. It is self-signed, and all clients trust it.
type keyFiles struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// makeKeys makes them where the suite's processes can read them.
func makeKeys(w *workshop) (*keyFiles, error) {
	cert, key, err := newCertificate()
	if err != nil {
		return nil, err
	}
	dir, err := w.private("tls")
	if err != nil {
		return nil, err
	}
	// HAProxy looks for the key beside the certificate, by this name.
	k := &keyFiles{Cert: filepath.Join(dir, "bench.pem"), Key: filepath.Join(dir, "bench.pem.key")}
	for file, text := range map[string][]byte{k.Cert: cert, k.Key: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
		if w.nobody != nil {
			if err := os.Chown(file, int(w.nobody.Uid), int(w.nobody.Gid)); err != nil {
				return nil, err
			}
		}
	}
	return k, nil
}

// keystore writes certificate and key into one file, as Kafka reads them, and returns its name.
func (k *keyFiles) keystore(dir string) (string, error) {
	cert, certErr := os.ReadFile(k.Cert)
	key, keyErr := os.ReadFile(k.Key)
	file := filepath.Join(dir, "broker.pem")
	return file, errors.Join(certErr, keyErr, os.WriteFile(file, slices.Concat(key, cert), 0o600))
}

// newCertificate is an ECDSA P-256 key with a certificate of its own, in PEM.
func newCertificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	const day = 24 * time.Hour
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: tlsName},
		DNSNames: []string{tlsName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(365 * day),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// server is the TLS configuration of the suite's own servers; nil without keys.
func (k *keyFiles) server() (*tls.Config, error) {
	if k == nil {
		return nil, nil //nolint:nilnil // no TLS
	}
	pair, err := tls.LoadX509KeyPair(k.Cert, k.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tlsVersion}, nil
}

// client is the TLS configuration of its own clients; nil without keys.
func (k *keyFiles) client() (*tls.Config, error) {
	if k == nil {
		return nil, nil //nolint:nilnil // no TLS
	}
	cert, err := os.ReadFile(k.Cert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cert) {
		return nil, fmt.Errorf("no certificate in %s", k.Cert)
	}
	return &tls.Config{RootCAs: pool, ServerName: tlsName, MinVersion: tlsVersion}, nil
}

var errOtherTLS = errors.New("TLS differs from the one version and cipher that all are measured with")

// asPinned says whether a connection has the one version and cipher.
func asPinned(state tls.ConnectionState) error {
	if state.Version == tlsVersion && state.CipherSuite == tlsSuite {
		return nil
	}
	return fmt.Errorf("%w: negotiated %s with %s, want %s with %s; Go chooses it on a processor with AES instructions", errOtherTLS,
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), tls.VersionName(tlsVersion), tlsSuiteName)
}

// handshake begins TLS, and checks the version and the cipher.
func handshake(ctx context.Context, conn *tls.Conn) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	return asPinned(conn.ConnectionState())
}

// overTLS is a client's connection, over TLS if there is a config for it.
func overTLS(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return conn, nil
	}
	secure := tls.Client(conn, config)
	if err := handshake(ctx, secure); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// tlsInfo describes it for the report.
type tlsInfo struct {
	Version     string `json:"version"`
	CipherSuite string `json:"cipher_suite"`
	Key         string `json:"key"`
	Certificate string `json:"certificate"` // PEM
}

// about is for the report.
func (k *keyFiles) about() (*tlsInfo, error) {
	cert, err := os.ReadFile(k.Cert)
	return &tlsInfo{
		Version: tls.VersionName(tlsVersion), CipherSuite: tlsSuiteName, Key: "ECDSA P-256", Certificate: string(cert),
	}, err
}
