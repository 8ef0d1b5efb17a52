package tlsconf

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"kproxy/internal/files"
)

// maxFileSize bounds the size of a file, in bytes: the bundle of all public authorities
// has a quarter of it.
const maxFileSize = 1 << 20

// contents is the content of a set of files at one look.
type contents struct {
	files  map[string]file
	digest [sha256.Size]byte // of the files in order, and of the errors of reading them
}

type file struct {
	data []byte
	err  error
}

// readFiles looks at the files. One that cannot be read is an error of that file,
// returned when its content is asked for.
func readFiles(ctx context.Context, names []string) contents {
	c := contents{files: make(map[string]file, len(names))}
	digest := sha256.New()
	for _, name := range names {
		data, err := files.Read(ctx, name, maxFileSize)
		c.files[name] = file{data: data, err: err}
		text := fmt.Sprint(err)
		digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		digest.Write(data)
		digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		digest.Write([]byte(text))
	}
	digest.Sum(c.digest[:0])
	return c
}

func (c contents) of(name string) ([]byte, error) {
	f := c.files[name]
	return f.data, f.err
}

// pem is the content of a PEM file without a BOM. crypto/tls does not find the first
// block behind a BOM, which some editors write.
func (c contents) pem(name string) ([]byte, error) {
	data, err := c.of(name)
	return files.WithoutBOM(data), err
}

// keyPair is a certificate's chain with its key, which fits it. section is the key
// of both. The errors are [*FileError]s.
func (c contents) keyPair(section string, pair KeyPair) (tls.Certificate, []error) {
	var errs []error
	cert, err := c.pem(pair.Cert)
	if err != nil {
		errs = append(errs, &FileError{section + "cert", err})
	}
	key, err := c.pem(pair.Key)
	if err != nil {
		errs = append(errs, &FileError{section + "key", err})
	}
	if len(errs) > 0 {
		return tls.Certificate{}, errs
	}
	chain, err := tls.X509KeyPair(cert, key)
	if err == nil {
		return chain, nil
	}
	bad := "key"
	if !hasCertificate(cert) {
		bad = "cert"
	}
	return tls.Certificate{}, []error{&FileError{section + bad, fmt.Errorf("%s with key %s: %w", pair.Cert, pair.Key, err)}}
}

// hasCertificate reports whether the first certificate of a PEM file can be read.
func hasCertificate(data []byte) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err == nil
		}
	}
	return false
}

// authorities are the certificates of a PEM file of CAs. The zero value is that of no file.
type authorities struct {
	pool   *x509.CertPool
	digest [sha256.Size]byte
	last   *x509.Certificate // the one that ends last: a file for a change of CAs has the old one too
}

// described is the certificate of a file of authorities whose end is that of the file; none without a file.
func (a authorities) described(file string) []Certificate {
	if a.last == nil {
		return nil
	}
	return []Certificate{describe(file, a.last)}
}

// authorities reads a PEM file of CAs. A block that is not a
// certificate is an error: [x509.CertPool.AppendCertsFromPEM] skips it, and its clients
// would be refused without an explanation.
func (c contents) authorities(name string) (authorities, error) {
	rest, err := c.pem(name)
	if err != nil {
		return authorities{}, err
	}
	a, digest := authorities{pool: x509.NewCertPool()}, sha256.New()
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return authorities{}, fmt.Errorf("%s: has a block %q, where only certificates belong", name, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return authorities{}, fmt.Errorf("%s: %w", name, err)
		}
		a.pool.AddCert(certificate)
		digest.Write(certificate.Raw) // DER has its own length
		if a.last == nil || certificate.NotAfter.After(a.last.NotAfter) {
			a.last = certificate
		}
	}
	if a.last == nil {
		return authorities{}, fmt.Errorf("%s: has no certificate in PEM", name)
	}
	digest.Sum(a.digest[:0])
	return a, nil
}

// errTicketKey is reported with the file's name alone: no length, no content.
var errTicketKey = errors.New("a ticket key needs 32 bytes or more")

func (c contents) ticketKey(name string) ([]byte, error) {
	key, err := c.of(name)
	if err == nil && len(key) < ticketKeySize {
		err = fmt.Errorf("%s: %w", name, errTicketKey)
	}
	return key, err
}
