package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ClientAuth says whether clients have to show a certificate.
type ClientAuth string

// The modes. A certificate that a client shows is verified in both.
const (
	Required  ClientAuth = "required"  // no certificate, no connection; the default with a client CA
	Requested ClientAuth = "requested" // a client may show none
)

// KeyPair names the PEM files of a certificate and of its private key. They may
// be one file.
type KeyPair struct {
	Cert string // the certificate, then the intermediates that lead to its CA
	Key  string // unencrypted
}

// ServerConfig configures the TLS of a listener.
type ServerConfig struct {
	// Name is the listener's own, unique in the proxy and the same at every
	// replica. Session tickets are bound to it.
	Name string
	// Certs are the chains, one at least. A client is shown the first that fits its
	// server name and its algorithms; if none fits, the first.
	Certs []KeyPair
	// ClientCA is a PEM file of the authorities whose clients are admitted. Empty:
	// clients are not asked for a certificate.
	ClientCA string
	// ClientAuth may be empty: Required where there is a ClientCA.
	ClientAuth ClientAuth
	// Subjects are the clients that are admitted, of those with a certificate, as
	// "CN=app-*,O=example". Each attribute that a pattern names must be in the subject,
	// and fit (* stands for any text) wherever it is; those that it does not name are
	// free. The names are those of RFC 4514 in either case, or object identifiers; a
	// backslash escapes the character behind it. One pattern has to fit. Empty: all are
	// admitted.
	Subjects []string
	// MinVersion is "1.2" or "1.3". Empty: 1.2.
	MinVersion string
	// TicketKeys are files of 32 bytes or more, of any content that is secret and
	// random. The first seals new session tickets, all open old ones. Replicas
	// that have the same files and Name resume each other's sessions. Empty: keys
	// of the process's own, replaced every day.
	TicketKeys []string
}

// KeyError is one mistake in a configuration.
type KeyError struct {
	Key     string // below tls, such as certs[0]
	Problem string
	Fix     string
}

// Error is the key, the problem and its fix in one line.
func (e *KeyError) Error() string { return e.Key + ": " + e.Problem + "; " + e.Fix }

// FileError is a file of a configuration that cannot be used.
type FileError struct {
	Key string // below tls, such as certs[0].cert
	Err error  // names the file
}

// Error does not name the key.
func (e *FileError) Error() string { return e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// Fix is the advice.
func (e *FileError) Fix() string {
	_, unread := errors.AsType[*fs.PathError](e.Err)
	switch {
	case strings.HasPrefix(e.Key, "ticket_keys"):
		return "name a file that kproxy may read, such as the output of: openssl rand 48"
	case unread:
		return "name a file in PEM that is there, and that kproxy may read"
	case strings.HasSuffix(e.Key, "key"):
		return "name the file in PEM of the private key, unencrypted, that belongs to cert"
	default:
		return "name a file in PEM that begins with a certificate"
	}
}

// fileErrors are the files that cannot be used, in one line for a log.
type fileErrors []error

func (e fileErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e fileErrors) Unwrap() []error { return e }

func joinFiles(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fileErrors(errs)
}

// Validate reports everything that is wrong with the values: the error joins a
// [*KeyError] for each mistake. It opens no file.
func (c ServerConfig) Validate() error {
	var problems []error
	add := func(key, problem, fix string) { problems = append(problems, &KeyError{key, problem, fix}) }
	if len(c.Certs) == 0 {
		add("certs", "one is needed at least", "write [{cert: edge.pem, key: edge.key}]")
	}
	for i, pair := range c.Certs {
		if pair.Cert == "" || pair.Key == "" {
			add(fmt.Sprintf("certs[%d]", i), "both cert and key are needed", "write {cert: edge.pem, key: edge.key}; one file may hold both")
		}
	}
	switch c.ClientAuth {
	case "", Required, Requested:
	default:
		add("client_auth", fmt.Sprintf("%q is neither %s nor %s", c.ClientAuth, Required, Requested), "write one of them")
	}
	const needsCA, caFix = "client_ca is needed, by which clients' certificates are verified", "write client_ca: the file of the CA that signs them"
	if c.ClientCA == "" && c.ClientAuth != "" {
		add("client_auth", needsCA, caFix)
	}
	if c.ClientCA == "" && len(c.Subjects) > 0 {
		add("subjects", needsCA, caFix)
	}
	if i := slices.Index(c.TicketKeys, ""); i >= 0 {
		add(fmt.Sprintf("ticket_keys[%d]", i), "a file's name is empty", "take it out")
	}
	_, subjects := compileSubjects(c.Subjects)
	_, version := parseVersion(c.MinVersion)
	return errors.Join(append(problems, subjects, version)...)
}

func (c ServerConfig) files() []string {
	files := []string{c.ClientCA}
	for _, pair := range c.Certs {
		files = append(files, pair.Cert, pair.Key)
	}
	return named(append(files, c.TicketKeys...))
}

// named returns the files that have a name.
func named(files []string) []string {
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// clientAuth is the mode for crypto/tls.
func (c ServerConfig) clientAuth() tls.ClientAuthType {
	switch {
	case c.ClientCA == "":
		return tls.NoClientCert
	case c.ClientAuth == Requested:
		return tls.VerifyClientCertIfGiven
	default:
		return tls.RequireAndVerifyClientCert
	}
}

// ClientConfig configures TLS towards a cluster's brokers. The zero value trusts
// the system's authorities and shows no certificate.
type ClientConfig struct {
	// CA is a PEM file of the authorities that the brokers' certificates lead to.
	// Empty: the system's, read once in the life of the process.
	CA string
	// Cert and Key are shown to brokers that ask for a certificate. Both empty: none is
	// shown.
	Cert, Key string
	// ServerName is the server name for every broker, and must be in its certificate.
	// Empty: the host that each broker advertises.
	ServerName string
	// MinVersion is "1.2" or "1.3". Empty: 1.2.
	MinVersion string
	// InsecureSkipVerify takes any certificate for the broker's.
	InsecureSkipVerify bool
}

// Validate reports everything that is wrong with the values: the error joins a
// [*KeyError] for each mistake. It opens no file.
func (c ClientConfig) Validate() error {
	var problems []error
	if (c.Cert == "") != (c.Key == "") {
		problems = append(problems, &KeyError{"cert", "it and key need each other", "write both, or none; one file may hold both"})
	}
	if c.CA != "" && c.InsecureSkipVerify {
		problems = append(problems, &KeyError{"ca", "it verifies nothing while insecure_skip_verify is true", "take one of the two out"})
	}
	_, version := parseVersion(c.MinVersion)
	return errors.Join(append(problems, version)...)
}

func (c ClientConfig) files() []string {
	return named([]string{c.CA, c.Cert, c.Key})
}

func parseVersion(text string) (uint16, error) {
	switch text {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	default:
		return 0, &KeyError{"min_version", fmt.Sprintf("%q is neither 1.2 nor 1.3", text), "write one of them"}
	}
}
