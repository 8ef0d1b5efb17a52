package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/admin"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
)

const (
	// healthTimeout is how long the admin server may take: a strict request waits for
	// clusters, 10 seconds at most.
	healthTimeout = 12 * time.Second

	maxHealthBody    = 1 << 20 // bytes of a response of /readyz
	maxReasons       = 20      // lines
	maxReason        = 400     // characters of one
	maxStrictAtATime = 8       // clusters that are asked about at the same time
)

// healthFlags are the flags of health.
type healthFlags struct {
	adminFlags

	cluster string
	strict  bool
	inRange bool
	config  string
	all     bool

	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error) // nil: by the system's resolver
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
--cluster that one. With --in-range, no node may have taken a free endpoint because it
is outside the range of a listener's nodes: replicas may differ for it. With --config,
the configuration in use must be the content of a file, such as a ConfigMap after helm
upgrade. health waits for it until --timeout, unless kproxy has refused it or holds it
back. With --all, all of this holds for each address that the name in --admin has.

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
	f.addAddress(flags)
	flags.BoolVar(&f.strict, "strict", false, "every cluster must respond now")
	flags.StringVar(&f.cluster, "cluster", "", "the cluster `NAME` must respond now; the others do not matter")
	flags.BoolVar(&f.inRange, "in-range", false, "no node may be outside the range of a listener's nodes")
	flags.StringVar(&f.config, "config", "", "the configuration in use must be that of `FILE`; health waits for it until --timeout")
	flags.BoolVar(&f.all, "all", false, "ask each address that the name in --admin has, such as that of a headless Service; all must be ready")
	f.addAccess(flags, "`FILE` with the token of admin.token_file; --strict, --cluster, --in-range and --config need it where there is one", healthTimeout)
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
	try := h.try
	if f.all {
		try = h.tryAll
	}
	ready, err := f.await(ctx, try)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, ready)
	return err
}

// attempt asks once. ready is the line for stdout, err says why there is none. final says that a later
// attempt would not find another configuration.
type attempt func(ctx context.Context, f *healthFlags) (ready string, final bool, err error)

// await repeats an attempt with --config until it is final, or ctx ends.
func (f *healthFlags) await(ctx context.Context, try attempt) (ready string, err error) {
	var last error
	for {
		ready, final, err := try(ctx, f)
		switch {
		case err == nil || final || f.config == "":
			return ready, err
		case last == nil || ctx.Err() == nil: // the end of the time inside a question says less than the response before
			last = err
		}
		select {
		case <-ctx.Done():
			return "", last
		case <-time.After(configPoll):
		}
	}
}

// try asks the one server of --admin.
func (h *health) try(ctx context.Context, f *healthFlags) (ready string, final bool, err error) {
	if f.config != "" {
		if final, err := h.usesConfiguration(ctx, f.config); err != nil {
			return "", final, err
		}
	}
	reasons, err := h.ask(ctx, f)
	if err == nil {
		err = notReady(reasons)
	}
	return "ready", !mayPass(err), err
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
	*adminClient

	url    *url.URL // of /readyz
	digest string   // of the content of --config
}

// health checks the flags and reads the files that they name.
func (f *healthFlags) health(ctx context.Context) (*health, error) {
	client, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	h := &health{adminClient: client, url: client.base.JoinPath("readyz")}
	if f.config != "" {
		content, err := files.Read(ctx, f.config, maxConfig)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		digest := sha256.Sum256(content)
		h.digest = hex.EncodeToString(digest[:])
	}
	return h, nil
}

// ask returns why kproxy is not ready. An error says that this is not known.
func (h *health) ask(ctx context.Context, f *healthFlags) (reasons []string, err error) {
	a, err := h.readyz(ctx, f.cluster)
	strict := f.strict && f.cluster == ""
	if err != nil || len(a.Reasons) > 0 || !strict && !f.inRange {
		return a.Reasons, err
	}
	if len(a.Clusters) == 0 {
		return nil, fmt.Errorf("%s names no clusters without the token of admin.token_file; add --token-file", h.url)
	}
	if strict {
		reasons, err = h.askEach(ctx, slices.Sorted(maps.Keys(a.Clusters)))
	}
	if f.inRange && err == nil && len(reasons) == 0 {
		reasons = a.outside()
	}
	return reasons, err
}

// outside names the nodes that are outside the range of a listener, with and without an endpoint.
func (a *readiness) outside() (reasons []string) {
	for _, cluster := range slices.Sorted(maps.Keys(a.Clusters)) {
		c := a.Clusters[cluster]
		for _, kind := range []struct {
			nodes map[string][]int32
			form  string
		}{
			{c.Overflowed, "cluster %s, listener %s: node %d is outside the range of nodes; widen the range, or pin the node"},
			{c.Unmapped, "cluster %s, listener %s: node %d has no endpoint, because the range is full; widen the range"},
		} {
			for _, listener := range slices.Sorted(maps.Keys(kind.nodes)) {
				for _, node := range kind.nodes[listener] {
					reasons = append(reasons, fmt.Sprintf(kind.form, cluster, listener, node))
				}
			}
		}
	}
	return reasons
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
	Ready    *bool    `json:"ready"` // nil: it is not kproxy's
	Reasons  []string `json:"reasons"`
	Clusters map[string]struct {
		Overflowed map[string][]int32 `json:"overflowed"` // by listener
		Unmapped   map[string][]int32 `json:"unmapped"`   // the same
	} `json:"clusters"`

	Configuration *admin.Configuration `json:"configuration"`
}

// readyz requests the readiness of all clusters, or of one. Without reasons it is ready.
func (h *health) readyz(ctx context.Context, cluster string) (readiness, error) {
	u := *h.url
	if cluster != "" {
		u.RawQuery = url.Values{"cluster": {cluster}}.Encode()
	}
	resp, err := h.do(ctx, http.MethodGet, &u)
	if err != nil {
		return readiness{}, err
	}
	defer resp.Body.Close()
	var a readiness
	body := &io.LimitedReader{R: resp.Body, N: maxHealthBody}
	bad := json.NewDecoder(body).Decode(&a)
	is := bad == nil && a.Ready != nil
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return readiness{}, h.unauthorized(h.url)
	case status == http.StatusOK && is && *a.Ready:
		a.Reasons = nil
		return a, nil
	case (status == http.StatusServiceUnavailable || status == http.StatusNotFound) && is && !*a.Ready:
		if len(a.Reasons) == 0 {
			a.Reasons = []string{"no reason is given without the token of admin.token_file; add --token-file"}
		}
		for i, reason := range a.Reasons {
			a.Reasons[i] = h.said(reason)
		}
		return a, nil
	case errors.Is(bad, io.ErrUnexpectedEOF) && body.N > 0: // the rest did not come
		return readiness{}, h.unreachable(h.url, bad)
	default:
		return readiness{}, notKproxy(h.url, status)
	}
}
