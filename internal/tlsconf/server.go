package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
)

// Server is a listener's side of TLS. It is safe for concurrent use.
type Server struct {
	*store
}

// NewServer reads the files of a configuration, all of which must be good. The
// error is that of [ServerConfig.Validate], or joins [*FileError]s.
func NewServer(c ServerConfig, events Events) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &store{files: c.files(), build: c.build, events: events}
	if err := s.open(); err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// Config is for other servers, such as net/http's: each handshake uses the present files.
func (s *Server) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // until the client's first message has come
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load().config, nil
		},
	}
}

func (c ServerConfig) build(now contents, before *generation) (*generation, error) {
	version, err := parseVersion(c.MinVersion)
	if err != nil {
		return nil, err
	}
	next := &generation{config: &tls.Config{
		MinVersion: version, ClientAuth: c.clientAuth(),
		DynamicRecordSizingDisabled: true, // a client waits for whole frames
	}}
	m, err := c.load(now)
	if err != nil {
		return nil, err
	}
	for i, chain := range m.chains {
		next.config.Certificates = append(next.config.Certificates, chain)
		next.certificates = append(next.certificates, describe(c.Certs[i].Cert, chain.Leaf))
	}
	if c.ClientCA != "" {
		next.config.ClientCAs, next.authorities = m.clientCAs.pool, m.clientCAs.digest
		next.certificates = append(next.certificates, m.clientCAs.described(c.ClientCA)...)
		if next.config.VerifyConnection, err = c.verifyClient(next.config.ClientCAs); err != nil {
			return nil, err
		}
	}
	if next.tickets, err = c.tickets(m, before); err != nil {
		return nil, err
	}
	next.config.WrapSession = next.tickets.EncryptTicket
	next.config.UnwrapSession = next.tickets.DecryptTicket
	return next, nil
}

// tickets keeps the process's own ticket keys as long as the client authorities stay the
// same, so that clients need no full handshake after a new certificate.
func (c ServerConfig) tickets(m *material, before *generation) (*tls.Config, error) {
	if len(c.TicketKeys) == 0 && before != nil && before.authorities == m.clientCAs.digest {
		return before.tickets, nil
	}
	return newTickets(c.Name, m.clientCAs.digest, m.ticketKeys)
}

// material is the content of the files of a ServerConfig.
type material struct {
	chains     []tls.Certificate
	clientCAs  authorities
	ticketKeys [][]byte
}

// load makes the material of files. The error joins a [*FileError] for each that
// cannot be used. Files without a name, which Validate refuses, are skipped.
func (c ServerConfig) load(now contents) (*material, error) {
	m := new(material)
	var errs []error
	for i, pair := range c.Certs {
		if pair.Cert == "" || pair.Key == "" {
			continue
		}
		chain, bad := now.keyPair(fmt.Sprintf("certs[%d].", i), pair)
		m.chains = append(m.chains, chain)
		errs = append(errs, bad...)
	}
	if c.ClientCA != "" {
		var err error
		if m.clientCAs, err = now.authorities(c.ClientCA); err != nil {
			errs = append(errs, &FileError{"client_ca", err})
		}
	}
	for i, name := range c.TicketKeys {
		if name == "" {
			continue
		}
		secret, err := now.ticketKey(name)
		m.ticketKeys = append(m.ticketKeys, secret)
		if err != nil {
			errs = append(errs, &FileError{fmt.Sprintf("ticket_keys[%d]", i), err})
		}
	}
	return m, joinFiles(errs)
}

// CheckFiles reads the files once, as [NewServer] does. The error joins a
// [*FileError] for each that cannot be used. The configuration need not be valid.
func (c ServerConfig) CheckFiles() error {
	_, err := c.load(readFiles(context.Background(), c.files()))
	return err
}

// verifyClient makes the function that crypto/tls calls at the end of each handshake,
// resumed ones included. In a resumed one the certificate comes from the ticket, and was
// verified when that was made. It is verified again, by the present authorities.
func (c ServerConfig) verifyClient(authorities *x509.CertPool) (func(tls.ConnectionState) error, error) {
	allowed, err := compileSubjects(c.Subjects)
	if err != nil {
		return nil, err
	}
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil // client_auth: requested
		}
		if state.DidResume {
			if err := verifyAgain(state.PeerCertificates, authorities); err != nil {
				return err
			}
		}
		return allowed.check(state.PeerCertificates[0])
	}, nil
}

func verifyAgain(chain []*x509.Certificate, authorities *x509.CertPool) error {
	options := x509.VerifyOptions{
		Roots:         authorities,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// Uncovered are those hosts, names or addresses, that no certificate of the Server's
// covers. An address has to be in the first: a client that connects to an address asks
// for no server name.
func (s *Server) Uncovered(hosts []string) []string {
	chains := s.current.Load().config.Certificates
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
		candidates := chains
		if _, err := netip.ParseAddr(host); err == nil {
			candidates = chains[:1]
		}
		return slices.ContainsFunc(candidates, func(c tls.Certificate) bool { return c.Leaf.VerifyHostname(host) == nil })
	})
}

// namesOf are the names that clients look for in a certificate.
func namesOf(certificate *x509.Certificate) []string {
	names := slices.Clone(certificate.DNSNames)
	for _, address := range certificate.IPAddresses {
		names = append(names, address.String())
	}
	return names
}
