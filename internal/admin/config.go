package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"kproxy/internal/errlist"
	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
	"kproxy/internal/tlslog"
	"kproxy/proxy/config"
)

// key is the configuration key of a [Config].
const key = "admin"

// Config has the address of the admin server, and its access rules.
type Config struct {
	Bind string // host:port
	// ReusePort has the socket share its address with that of another process that has it set too.
	ReusePort bool
	// TokenFile is a file with the token (Authorization: Bearer) that clients must send
	// to get more than a status. It is read at each request, so that it can be replaced.
	// "": every client gets everything.
	TokenFile string
	// Hosts are names under which the server serves everything, beside IP addresses,
	// localhost and the host of Bind.
	Hosts     []string
	Cert, Key string // files (PEM) for HTTPS; both or none
	Pprof     bool   // serve the profiles of package net/http/pprof
	// WatchInterval is how often Cert and Key are checked, and read again if they have
	// changed; less than 0: never.
	WatchInterval time.Duration
}

// Validate finds the mistakes; each is a [*config.Error], joined. Files are not
// read.
func (c *Config) Validate() error {
	var errs []error
	add := func(name, problem, fix string) {
		errs = append(errs, &config.Error{Key: key + "." + name, Problem: problem, Fix: fix})
	}
	if c.Bind == "" {
		for _, set := range []struct {
			name string
			is   bool
		}{{"hosts", len(c.Hosts) > 0}, {"token_file", c.TokenFile != ""}, {"tls", c.Cert != "" || c.Key != ""}, {"pprof", c.Pprof}} {
			if set.is {
				add(set.name, "there is no admin server to use it", "set "+key+".bind, or leave this out")
			}
		}
		return errors.Join(errs...)
	}
	for i, name := range c.Hosts {
		if host, _, err := hostport.Parse(hostport.Join(name, 1)); err != nil || host != name || hostport.IsWildcard(name) {
			add(fmt.Sprintf("hosts[%d]", i), fmt.Sprintf("%q is not a host name", name), "write the name alone, such as kproxy.example.com, without scheme and port")
		}
	}
	switch {
	case c.Cert == "" && c.Key != "":
		add("tls.cert", "missing", "name the file of the certificate that tls.key belongs to")
	case c.Cert != "" && c.Key == "":
		add("tls.key", "missing", "name the file of the private key that tls.cert belongs to")
	}
	if c.Pprof && c.TokenFile == "" && c.isExposed() {
		add("pprof", "any client that reaches "+c.Bind+" could have kproxy profiled", "set "+key+".token_file, or bind a loopback address")
	}
	return errors.Join(errs...)
}

// isExposed reports whether other machines reach the server. An invalid bind is not
// exposed.
func (c *Config) isExposed() bool {
	host, _, err := net.SplitHostPort(c.Bind)
	return err == nil && !hostport.IsLoopback(host)
}

// Load reads the files, all of which must be valid; nil where there is no TLS. Their
// later events go to log. The error joins a [*config.Error] for each file.
func (c *Config) Load(log *slog.Logger) (*tlsconf.Server, error) {
	errs := []error{c.checkToken()}
	var server *tlsconf.Server
	if c.Cert != "" {
		var err error
		server, err = tlsconf.NewServer(c.tls(), tlslog.Events(log, key))
		errs = append(errs, tlsErrors(err)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return server, nil
}

// CheckFiles reads the files once, as Load does. The error joins a [*config.Error]
// for each that cannot be used. c need not be valid.
func (c *Config) CheckFiles() error {
	if c.Bind == "" {
		return nil
	}
	return errors.Join(append(tlsErrors(c.tls().CheckFiles()), c.checkToken())...)
}

func (c *Config) tls() tlsconf.ServerConfig {
	return tlsconf.ServerConfig{Name: key, Certs: []tlsconf.KeyPair{{Cert: c.Cert, Key: c.Key}}}
}

func (c *Config) checkToken() error {
	if c.TokenFile == "" {
		return nil
	}
	if _, err := readToken(context.Background(), c.TokenFile); err != nil {
		return &config.Error{
			Key: key + ".token_file", Problem: err.Error(),
			Fix: "name a file that kproxy may read, with one token such as the output of: openssl rand -hex 32",
		}
	}
	return nil
}

// tlsErrors gives the files of TLS that cannot be used their place in the configuration: the
// admin server has one certificate, and no list of them.
func tlsErrors(err error) []error {
	all := errlist.Of(config.TLSFileErrors(key, err))
	for _, err := range all {
		if bad, ok := errors.AsType[*config.Error](err); ok {
			bad.Key = strings.Replace(bad.Key, ".certs[0].", ".", 1)
		}
	}
	return all
}
