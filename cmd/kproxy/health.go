package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
)

const (
	// defaultAdmin is the default address of the admin server.
	defaultAdmin = "http://127.0.0.1:9400"
	// healthTimeout is how long the admin server may take: a strict request waits for
	// clusters, 10 seconds at most.
	healthTimeout = 12 * time.Second

	maxHealthBody    = 1 << 20 // bytes of a response of /readyz
	maxReasons       = 20      // lines
	maxReason        = 400     // characters of one
	maxStrictAtATime = 8       // clusters that are asked about at the same time
	maxToken         = 4 << 10 // bytes of a file with a token
	maxHealthCA      = 1 << 20 // bytes of a file with certificates
)

// healthFlags are the flags of health.
type healthFlags struct {
	admin, cluster, tokenFile, ca string
	strict, insecure              bool
	timeout                       time.Duration
}

func newHealthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running kproxy whether it is ready: 0 if it is, 1 if not",
		Long: `health asks the admin server of a running kproxy whether clients should be sent
there (/readyz). It ends with 0 if so, and with 1 if not, with the reasons on stderr,
one a line. It is for a container's HEALTHCHECK, helm test and keepalived.

kproxy is ready when its listeners are bound, it is not stopping, and a cluster has
responded since the start. With --strict every cluster must respond now, and with
--cluster that one.

The default of --admin follows the environment variables of the admin server if they
are set, as in the server's own container: KPROXY_ADMIN_BIND, KPROXY_ADMIN_TLS_CERT
and KPROXY_ADMIN_TOKEN_FILE.`,
		Example: `  kproxy health
  kproxy health --admin https://kproxy.internal:9400 --ca ca.pem --strict
  kproxy health --cluster orders --timeout 3s`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.admin, "admin", "", "`URL` of the admin server (default "+defaultAdmin+")")
	flags.BoolVar(&f.strict, "strict", false, "every cluster must respond now")
	flags.StringVar(&f.cluster, "cluster", "", "the cluster `NAME` must respond now; the others do not matter")
	flags.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the token of admin.token_file; --strict and --cluster need it where there is one")
	flags.StringVar(&f.ca, "ca", "", "`FILE` of the certificates that sign the admin server's (PEM); the system's otherwise")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate of the admin server")
	flags.DurationVar(&f.timeout, "timeout", healthTimeout, "how long to wait for all of it")
	return cmd
}

// run is the command.
func (f *healthFlags) run(ctx context.Context, stdout io.Writer) error {
	h, err := f.health(ctx)
	if err != nil {
		return &usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	defer h.client.CloseIdleConnections()
	reasons, err := h.ask(ctx, f)
	if err != nil {
		return err
	}
	if len(reasons) > 0 {
		return notReady(reasons)
	}
	_, err = fmt.Fprintln(stdout, "ready")
	return err
}

// notReady has a line for each reason, up to maxReasons.
func notReady(reasons []string) error {
	var errs []error
	for i, reason := range reasons {
		if i == maxReasons {
			errs = append(errs, fmt.Errorf("not ready: %d more reasons", len(reasons)-i))
			break
		}
		errs = append(errs, errors.New("not ready: "+foreign.LineOf(reason, maxReason)))
	}
	return errors.Join(errs...)
}

// health asks one admin server.
type health struct {
	url    *url.URL // of /readyz
	token  string   // "": none
	client *http.Client
}

// health checks the flags and reads the files that they name.
func (f *healthFlags) health(ctx context.Context) (*health, error) {
	address, err := adminURL(cmp.Or(f.admin, adminFromEnvironment()))
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
		pem, err := files.Read(ctx, f.ca, maxHealthCA)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no certificate in PEM; name the file of the authority that signs the admin server's", f.ca)
		}
	}
	h := &health{url: address.JoinPath("readyz")}
	if file := cmp.Or(f.tokenFile, os.Getenv("KPROXY_ADMIN_TOKEN_FILE")); file != "" {
		token, err := files.ReadSecretArgument(ctx, file, maxToken)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		h.token = strings.TrimSpace(token)
	}
	h.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: secure}, // no proxy of the environment's
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

// adminFromEnvironment is the address of an admin server that is configured by the
// environment, as in its own container.
func adminFromEnvironment() string {
	host, port, err := hostport.Parse(os.Getenv("KPROXY_ADMIN_BIND"))
	if err != nil {
		return defaultAdmin
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
	return scheme + hostport.Join(host, port)
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

// ask returns why kproxy is not ready. An error says that this is not known.
func (h *health) ask(ctx context.Context, f *healthFlags) (reasons []string, err error) {
	if f.cluster != "" {
		a, err := h.readyz(ctx, f.cluster)
		return a.Reasons, err
	}
	a, err := h.readyz(ctx, "")
	if err != nil || !f.strict || len(a.Reasons) > 0 {
		return a.Reasons, err
	}
	if len(a.Clusters) == 0 {
		return nil, fmt.Errorf("%s names no clusters without the token of admin.token_file; add --token-file", h.url)
	}
	return h.askEach(ctx, slices.Sorted(maps.Keys(a.Clusters)))
}

// askEach asks for each cluster.
func (h *health) askEach(ctx context.Context, names []string) ([]string, error) {
	all := make([]readiness, len(names))
	errs := make([]error, len(names))
	room := make(chan struct{}, maxStrictAtATime)
	var asking sync.WaitGroup
	for i, name := range names {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			all[i], errs[i] = h.readyz(ctx, name)
		})
	}
	asking.Wait()
	var reasons []string
	for _, a := range all {
		for _, reason := range a.Reasons {
			if !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	if len(reasons) > 0 {
		return reasons, nil
	}
	for _, err := range errs {
		if err != nil {
			return nil, err // the others say the same
		}
	}
	return nil, nil
}

// readiness is the part of /readyz's body that health reads.
type readiness struct {
	Ready    *bool               `json:"ready"` // nil: it is not kproxy's
	Reasons  []string            `json:"reasons"`
	Clusters map[string]struct{} `json:"clusters"`
}

// readyz requests the readiness of all clusters, or of one. Without reasons it is ready.
func (h *health) readyz(ctx context.Context, cluster string) (readiness, error) {
	u := *h.url
	if cluster != "" {
		u.RawQuery = url.Values{"cluster": {cluster}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return readiness{}, err
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return readiness{}, h.unreachable(err)
	}
	defer resp.Body.Close()
	var a readiness
	bad := json.NewDecoder(io.LimitReader(resp.Body, maxHealthBody)).Decode(&a)
	is := bad == nil && a.Ready != nil
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return readiness{}, fmt.Errorf("%s wants a token; add --token-file with the file of admin.token_file", h.url)
	case status == http.StatusOK && is && *a.Ready:
		a.Reasons = nil
		return a, nil
	case (status == http.StatusServiceUnavailable || status == http.StatusNotFound) && is && !*a.Ready:
		if len(a.Reasons) == 0 {
			a.Reasons = []string{"no reason is given without the token of admin.token_file; add --token-file"}
		}
		return a, nil
	case status == http.StatusBadRequest && h.url.Scheme == "http":
		return readiness{}, fmt.Errorf("%s responds 400, as an HTTPS port does; if admin.tls is set, write https:// in --admin", h.url)
	default:
		return readiness{}, fmt.Errorf("%s responds %d, which is not kproxy's: see whether another server has the port, and whether admin.bind is this address", h.url, status)
	}
}

// unreachable is the advice when the admin server does not respond.
func (h *health) unreachable(err error) error {
	const look = "see whether kproxy runs and admin.bind is this address; --admin names another one"
	reason := err
	if failed, ok := errors.AsType[*url.Error](err); ok {
		reason = failed.Err // without the URL, which is named already
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	network, timedOut := errors.AsType[net.Error](err)
	switch {
	case untrusted:
		return fmt.Errorf("%s: %s; name the authority with --ca FILE, or ask under a name that the certificate has", h.url, foreign.Line(reason.Error()))
	case timedOut && network.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not respond in time; %s, or raise --timeout", h.url, look)
	case strings.Contains(reason.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks HTTP, not HTTPS; write http:// in --admin", h.url)
	case errors.Is(err, io.EOF) || strings.Contains(reason.Error(), "malformed HTTP"):
		return fmt.Errorf("%s does not speak HTTP: %s; if admin.tls is set, write https:// in --admin", h.url, foreign.Line(reason.Error()))
	}
	return fmt.Errorf("%s: %s; %s", h.url, foreign.Line(reason.Error()), look)
}
