package tlsconf

import (
	"context"
	"crypto/tls"
	"net"
)

// Client is kproxy's side of TLS towards a cluster's brokers. It is safe for concurrent
// use.
type Client struct {
	*store

	certified bool // there is a certificate to show
}

// NewClient reads the files of a configuration, all of which must be valid. The
// error is that of [ClientConfig.Validate], or joins [*FileError]s.
func NewClient(c ClientConfig, events Events) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &store{files: c.files(), build: c.build, events: events}
	if err := s.open(); err != nil {
		return nil, err
	}
	return &Client{store: s, certified: c.Cert != ""}, nil
}

func (c ClientConfig) build(now contents, _ *generation) (*generation, error) {
	version, err := parseVersion(c.MinVersion)
	if err != nil {
		return nil, err
	}
	next := &generation{config: &tls.Config{
		MinVersion:         version,
		ServerName:         c.ServerName,
		InsecureSkipVerify: c.InsecureSkipVerify, //nolint:gosec // the configuration asks for it by this name

		DynamicRecordSizingDisabled: true, // the reader waits for whole frames
	}}
	roots, chain, err := c.load(now)
	if err != nil {
		return nil, err
	}
	next.config.RootCAs = roots.pool
	if c.Cert != "" {
		next.certificates = append(next.certificates, describe(c.Cert, chain.Leaf))
		// Certificates would not send it to a broker that names other authorities. It is
		// better to let that broker refuse it: if a certificate is optional there, the
		// proxy would have no identity, unnoticed.
		next.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &chain, nil
		}
	}
	// Behind the certificate, which counts if one file has both.
	next.certificates = append(next.certificates, roots.described(c.CA)...)
	return next, nil
}

// load makes the authorities and the certificate of files, as far as they are named.
// The error joins a [*FileError] for each that cannot be used.
func (c ClientConfig) load(now contents) (roots authorities, chain tls.Certificate, err error) {
	var errs []error
	if c.CA != "" {
		if roots, err = now.authorities(c.CA); err != nil {
			errs = append(errs, &FileError{"ca", err})
		}
	}
	if c.Cert != "" && c.Key != "" {
		var bad []error
		chain, bad = now.keyPair("", KeyPair{Cert: c.Cert, Key: c.Key})
		errs = append(errs, bad...)
	}
	return roots, chain, joinFiles(errs)
}

// CheckFiles reads the files once, as [NewClient] does. The error joins a
// [*FileError] for each that cannot be used. The configuration need not be valid.
func (c ClientConfig) CheckFiles() error {
	_, _, err := c.load(readFiles(context.Background(), c.files()))
	return err
}

// Handshake does the client's part of a handshake on conn. host is the broker's own
// advertised name or address, wherever conn leads. It must be in the broker's
// certificate, unless the configuration has another name.
//
// An error is an [*Error]. When ctx is done the handshake fails, by its deadline
// as [Timeout]. The caller closes conn on any error.
//
// In TLS 1.3 a broker that refuses the client's certificate says so after the
// handshake, where the first response is read: see Explain.
func (c *Client) Handshake(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error) {
	config := c.current.Load().config
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	client := tls.Client(conn, config)
	err := client.HandshakeContext(ctx)
	if err == nil {
		return client, nil
	}
	agreed := client.ConnectionState().Version != 0
	if !agreed && failureOf(err) == Ended {
		// A plaintext broker reads the first bytes of a handshake as the size of a
		// request, which is far too large, and closes.
		return nil, &Error{Failure: NotTLS, Advice: advicePlaintextBroker, Err: err}
	}
	return nil, c.explain(err, agreed)
}

// Explain turns an error from reading or writing that is the broker's alert about the
// handshake into an [*Error], and returns any other unchanged.
func (c *Client) Explain(err error) error {
	if _, ok := alertOf(err); ok {
		return c.explain(err, true)
	}
	return err
}

// explain adds two facts to the error. handshake_failure (40), once a version and a
// cipher are agreed on, is about the certificate. And if the client has none, the broker
// misses it, and has not refused it.
func (c *Client) explain(err error, agreed bool) *Error {
	failure := failureOf(err)
	if alert, ok := alertOf(err); ok && alert == 40 && agreed {
		failure = CertificateRefused
	}
	if failure == CertificateRefused && !c.certified {
		failure = NoCertificate
	}
	return newError(upstream, failure, err)
}
