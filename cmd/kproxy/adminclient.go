package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kproxy/internal/admin"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
)

const (
	// defaultAdmin is the default address of the admin server.
	defaultAdmin = "http://127.0.0.1:9400"

	maxToken   = 4 << 10 // bytes of a file with a token
	maxAdminCA = 1 << 20 // bytes of a file with certificates
)

// adminFlags are the flags of commands that send requests to the admin server of a running
// kproxy.
type adminFlags struct {
	admin, tokenFile, ca string
	insecure             bool
	timeout              time.Duration
}

func (f *adminFlags) addAddress(flags *pflag.FlagSet) {
	flags.StringVar(&f.admin, "admin", "", "`URL` of the admin server (default "+defaultAdmin+")")
}

// addAccess adds the flags for token, TLS and time. token is the help about the token.
func (f *adminFlags) addAccess(flags *pflag.FlagSet, token string, timeout time.Duration) {
	flags.StringVar(&f.tokenFile, "token-file", "", token)
	flags.StringVar(&f.ca, "ca", "", "`FILE` of the certificates that sign the admin server's (PEM); the system's otherwise")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate of the admin server")
	flags.DurationVar(&f.timeout, "timeout", timeout, "how long to wait for all of it")
}

// use calls do with a client. ctx ends after --timeout.
func (f *adminFlags) use(ctx context.Context, do func(ctx context.Context, client *adminClient) error) error {
	client, err := f.client(ctx)
	if err != nil {
		return &usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return do(ctx, client)
}

// adminClient sends requests to one admin server.
type adminClient struct {
	base   *url.URL
	token  string // "": none
	client *http.Client
}

// client checks the flags and reads the files that they name.
func (f *adminFlags) client(ctx context.Context) (*adminClient, error) {
	at := f.admin
	if at == "" {
		var err error
		if at, err = adminFromEnvironment(); err != nil {
			return nil, err
		}
	}
	address, err := adminURL(at)
	switch {
	case err != nil:
		return nil, err
	case f.timeout <= 0:
		return nil, errors.New("--timeout: it must be more than 0; write one such as 5s")
	case f.ca != "" && f.insecure:
		return nil, errors.New("--ca: --insecure accepts any certificate; leave one of them out")
	}
	secure := &tls.Config{InsecureSkipVerify: f.insecure} //nolint:gosec // the user has asked for it
	if f.ca != "" {
		pem, err := files.Read(ctx, f.ca, maxAdminCA)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no certificate in PEM; name the file of the authority that signs the admin server's", f.ca)
		}
	}
	a := &adminClient{base: address}
	if file := cmp.Or(f.tokenFile, os.Getenv("KPROXY_ADMIN_TOKEN_FILE")); file != "" {
		token, err := files.ReadSecretArgument(ctx, file, maxToken)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		if a.token = strings.TrimSpace(token); !admin.IsSendable(a.token) {
			return nil, fmt.Errorf("--token-file: %s holds more than one word, or characters that are not ASCII; name the file of admin.token_file", file)
		}
	}
	a.client = &http.Client{
		// No proxy of the environment's. net/http writes bytes that come on an idle connection to stderr.
		Transport:     &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

// do sends a request without a body. The error has advice. The caller closes the
// response's body.
func (a *adminClient) do(ctx context.Context, method string, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		shown := *u
		shown.RawQuery = ""
		return nil, a.unreachable(&shown, err)
	}
	return resp, nil
}

// adminFromEnvironment is the address of an admin server that is configured by the
// environment, as in its own container; otherwise the default.
func adminFromEnvironment() (string, error) {
	bind := os.Getenv("KPROXY_ADMIN_BIND")
	if bind == "" {
		return defaultAdmin, nil
	}
	host, port, err := hostport.Parse(bind)
	if err != nil {
		return "", fmt.Errorf("KPROXY_ADMIN_BIND: %w; or name the server by --admin", err)
	}
	switch {
	case host == "::":
		host = "::1"
	case hostport.IsWildcard(host):
		host = "127.0.0.1"
	}
	scheme := "http://"
	if os.Getenv("KPROXY_ADMIN_TLS_CERT") != "" {
		scheme = "https://"
	}
	return scheme + hostport.Join(host, port), nil
}

// adminURL reads --admin: a URL, or host:port.
func adminURL(text string) (*url.URL, error) {
	const fix = "write one such as " + defaultAdmin
	shown := quoted(hostport.WithoutUser(text))
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf("--admin: %s is not a URL; %s", shown, fix)
	case u.Port() != "" && !isPort(u.Port()):
		return nil, fmt.Errorf("--admin: %s has no port from 1 to 65535; %s", shown, fix)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("--admin: %s is neither http nor https; %s", shown, fix)
	case u.User != nil:
		return nil, fmt.Errorf("--admin: %s has a user; leave it out: --token-file names the file of a token", shown)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("--admin: %s has more than host and port; %s", shown, fix)
	}
	return u, nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// unauthorized is the error of a response 401.
func (a *adminClient) unauthorized(u *url.URL) error {
	if a.token != "" {
		return fmt.Errorf("%s does not accept the token; --token-file must name the file with the token of admin.token_file", u)
	}
	return fmt.Errorf("%s wants a token; add --token-file with the file of admin.token_file", u)
}

// notKproxy is the advice about a response that no kproxy gives.
func notKproxy(u *url.URL, status int) error {
	if status == http.StatusBadRequest && u.Scheme == "http" {
		return fmt.Errorf("%s responds 400, as an HTTPS port does; if admin.tls is set, write https:// in --admin", u)
	}
	return fmt.Errorf("%s responds %d, which is not kproxy's: see whether another server has the port, and whether admin.bind is this address", u, status)
}

// said is a text of the server's, without the token: another server at the port may send back the
// request.
func (a *adminClient) said(text string) string { return foreign.Without(text, a.token) }

// refusal is the text of a response that refuses a request.
func (a *adminClient) refusal(body []byte) string { return a.said(strings.TrimSpace(string(body))) }

// unreachable is the advice when the admin server does not respond.
func (a *adminClient) unreachable(u *url.URL, err error) error {
	passes, why := a.whyUnreachable(u, err)
	return &unreachableError{why, passes}
}

// unreachableError says that there is no response, or a part of one.
type unreachableError struct {
	error

	passes bool // while nothing listens, or the time is too short; not with another scheme or authority
}

func (e *unreachableError) Unwrap() error { return e.error }

// mayPass reports whether a later request may have a response.
func mayPass(err error) bool {
	silent, ok := errors.AsType[*unreachableError](err)
	return ok && silent.passes
}

func (a *adminClient) whyUnreachable(u *url.URL, err error) (passes bool, why error) {
	const look = "see whether kproxy runs and admin.bind is this address; --admin names another one"
	reason := err
	if failed, ok := errors.AsType[*url.Error](err); ok {
		reason = failed.Err // without the URL, which is named already
	}
	said := foreign.Line(a.said(reason.Error()))
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	network, timedOut := errors.AsType[net.Error](err)
	switch {
	case untrusted:
		return false, fmt.Errorf("%s: %s; name the authority with --ca FILE, or ask under a name that the certificate has", u, said)
	case timedOut && network.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return true, fmt.Errorf("%s did not respond in time; %s, or raise --timeout", u, look)
	case strings.Contains(reason.Error(), "server gave HTTP response to HTTPS client"):
		return false, fmt.Errorf("%s speaks HTTP, not HTTPS; write http:// in --admin", u)
	case errors.Is(err, io.EOF) || strings.Contains(reason.Error(), "malformed HTTP"):
		return errors.Is(err, io.EOF), fmt.Errorf("%s does not speak HTTP: %s; if admin.tls is set, write https:// in --admin", u, said)
	}
	return true, fmt.Errorf("%s: %s; %s", u, said, look)
}
