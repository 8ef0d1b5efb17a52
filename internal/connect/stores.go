package connect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"kproxy/internal/files"
	"kproxy/proxy/config"
)

// tls has the client's trusted certificates and its own. Keystores become files in PEM,
// which Close removes.
func (c *Client) tls(ctx context.Context, k keys) (*config.UpstreamTLS, error) {
	t := &config.UpstreamTLS{}
	var err error
	if t.CA, err = c.trusted(ctx, k); err != nil {
		return nil, err
	}
	if t.Cert, t.Key, err = c.shown(ctx, k); err != nil {
		return nil, err
	}
	switch verify, ok := k["ssl.endpoint.identification.algorithm"]; {
	case strings.EqualFold(k["enable.ssl.certificate.verification"], "false"):
		t.InsecureSkipVerify = true
		c.Notes = append(c.Notes, "enable.ssl.certificate.verification: false; kproxy accepts any certificate, and a machine between can read and change everything")
	case ok && (verify == "" || strings.EqualFold(verify, "none")):
		c.Notes = append(c.Notes, "ssl.endpoint.identification.algorithm: off; kproxy checks the names in certificates all the same; --server-name NAME names another one")
	}
	return t, nil
}

// trusted is the file of the authorities; "": the system's.
func (c *Client) trusted(ctx context.Context, k keys) (string, error) {
	inline := cmp.Or(k["ssl.truststore.certificates"], k["ssl.ca.pem"])
	switch {
	case inline != "":
		return c.write("ca.pem", pemText(inline))
	case k["ssl.ca.location"] != "":
		return k["ssl.ca.location"], nil
	case k["ssl.truststore.location"] == "":
		return "", nil
	}
	const key = "ssl.truststore.location"
	data, err := files.Read(ctx, k[key], maxFile)
	if err != nil {
		return "", badKey(key, "%w; name a file that can be read, or leave the key out for the system's authorities", err)
	}
	certs, err := trustedIn(data, k["ssl.truststore.password"])
	switch {
	case err != nil:
		return "", badKey(key, "%s: %w", k[key], err)
	case certs == nil:
		return k[key], nil // it is PEM
	}
	return c.write("ca.pem", certs)
}

// trustedIn are the certificates of a truststore, in PEM; nil: the file is PEM already.
func trustedIn(data []byte, password string) ([]byte, error) {
	switch kindOf(data) {
	case kindPEM:
		return nil, nil
	case kindJKS:
		store, err := openJKS(data, password)
		if err != nil {
			return nil, err
		}
		var out []byte
		for _, alias := range store.Aliases() {
			if entry, err := store.GetTrustedCertificateEntry(alias); err == nil {
				out = append(out, certificate(entry.Certificate.Content)...)
			}
		}
		if out == nil {
			return nil, errors.New("it holds no trusted certificate")
		}
		return out, nil
	case kindPKCS12:
		certs, err := pkcs12.DecodeTrustStore(data, password)
		if err != nil {
			return nil, fmt.Errorf("it cannot be opened: %w; see whether ssl.truststore.password is right", err)
		}
		var out []byte
		for _, cert := range certs {
			out = append(out, certificate(cert.Raw)...)
		}
		return out, nil
	default:
		return nil, errUnknownStore
	}
}

// shown are the files of certificate and key; "": there are none.
func (c *Client) shown(ctx context.Context, k keys) (cert, key string, err error) {
	inlineCert, inlineKey := cmp.Or(k["ssl.keystore.certificate.chain"], k["ssl.certificate.pem"]), cmp.Or(k["ssl.keystore.key"], k["ssl.key.pem"])
	switch {
	case inlineCert != "" && inlineKey != "":
		both := append(pemText(inlineCert), pemText(inlineKey)...)
		return c.pair(both, "ssl.keystore.key")
	case k["ssl.certificate.location"] != "" && k["ssl.key.location"] != "":
		if k["ssl.key.password"] != "" {
			return "", "", errEncrypted("ssl.key.location")
		}
		return k["ssl.certificate.location"], k["ssl.key.location"], nil
	case k["ssl.keystore.location"] == "":
		return "", "", nil
	}
	const name = "ssl.keystore.location"
	data, err := files.Read(ctx, k[name], maxFile)
	if err != nil {
		return "", "", badKey(name, "%w; name a file that can be read", err)
	}
	both, err := shownIn(data, k["ssl.keystore.password"], cmp.Or(k["ssl.key.password"], k["ssl.keystore.password"]))
	if err != nil {
		return "", "", badKey(name, "%s: %w", k[name], err)
	}
	return c.pair(both, name)
}

// pair writes a certificate with its key.
func (c *Client) pair(both []byte, name string) (cert, key string, err error) {
	if bytes.Contains(both, []byte("ENCRYPTED")) {
		return "", "", errEncrypted(name)
	}
	file, err := c.write("client.pem", both)
	return file, file, err
}

func errEncrypted(key string) error {
	return badKey(key, "the key is encrypted; decrypt it into a file that only you can read (openssl pkey -in KEY -out FILE), and name that with --key, and the certificate with --cert")
}

// shownIn are a keystore's certificate chain and key, in PEM.
func shownIn(data []byte, storePassword, keyPassword string) ([]byte, error) {
	switch kindOf(data) {
	case kindPEM:
		return data, nil
	case kindJKS:
		store, err := openJKS(data, storePassword)
		if err != nil {
			return nil, err
		}
		for _, alias := range store.Aliases() {
			if !store.IsPrivateKeyEntry(alias) {
				continue
			}
			entry, err := store.GetPrivateKeyEntry(alias, []byte(keyPassword))
			if err != nil {
				return nil, fmt.Errorf("its key cannot be opened: %w; see whether ssl.key.password is right", err)
			}
			var out []byte
			for _, cert := range entry.CertificateChain {
				out = append(out, certificate(cert.Content)...)
			}
			return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: entry.PrivateKey})...), nil
		}
		return nil, errors.New("it holds no private key")
	case kindPKCS12:
		key, cert, chain, err := pkcs12.DecodeChain(data, storePassword)
		if err != nil {
			return nil, fmt.Errorf("it cannot be opened: %w; see whether ssl.keystore.password is right", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		out := certificate(cert.Raw)
		for _, next := range chain {
			out = append(out, certificate(next.Raw)...)
		}
		return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
	default:
		return nil, errUnknownStore
	}
}

// kind is the real format of a store, whatever its name and ssl.….type say: Java, too,
// accepts either.
type kind int

const (
	kindUnknown kind = iota
	kindPEM
	kindJKS
	kindPKCS12
)

var errUnknownStore = errors.New("it is neither PEM, PKCS12 nor JKS; convert it: keytool -importkeystore -srckeystore STORE -destkeystore NEW.p12 -deststoretype PKCS12")

func kindOf(data []byte) kind {
	const asn1Sequence = 0x30
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return kindJKS
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return kindPEM
	case len(data) > 0 && data[0] == asn1Sequence:
		return kindPKCS12
	default:
		return kindUnknown
	}
}

func openJKS(data []byte, password string) (keystore.KeyStore, error) {
	store := keystore.New(keystore.WithOrderedAliases(), keystore.WithCaseExactAliases())
	if err := store.Load(bytes.NewReader(data), []byte(password)); err != nil {
		return store, fmt.Errorf("it cannot be opened: %w; see whether its password is right", err)
	}
	return store, nil
}

func certificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pemText restores PEM from one line of a configuration, with \n or blanks for its line
// ends.
func pemText(text string) []byte {
	text = strings.ReplaceAll(text, `\n`, "\n")
	if strings.Contains(text, "\n") {
		return append([]byte(text), '\n')
	}
	for _, word := range []string{"CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"} {
		text = strings.ReplaceAll(text, "-----BEGIN "+word+"-----", "-----BEGIN\x00"+strings.ReplaceAll(word, " ", "\x00")+"-----")
		text = strings.ReplaceAll(text, "-----END "+word+"-----", "-----END\x00"+strings.ReplaceAll(word, " ", "\x00")+"-----")
	}
	return []byte(strings.ReplaceAll(strings.Join(strings.Fields(text), "\n"), "\x00", " ") + "\n")
}

// write writes a file that lives as long as the Client. Only the user can read it.
func (c *Client) write(name string, content []byte) (string, error) {
	if c.dir == "" {
		const pattern = "kproxy-connect-"
		// XDG_RUNTIME_DIR is in memory, and is removed with the user's session.
		dir, err := os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), pattern)
		if err != nil {
			dir, err = os.MkdirTemp("", pattern)
		}
		if err != nil {
			return "", err
		}
		c.dir = dir
	}
	file := filepath.Join(c.dir, name)
	return file, os.WriteFile(file, content, 0o600)
}
