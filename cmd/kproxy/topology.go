package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/api"
	"kproxy/internal/columns"
	"kproxy/internal/foreign"
)

// apiTimeout is how long the admin server may take for a response of its API.
const apiTimeout = 10 * time.Second

// maxAPIBody bounds a response of the API: 1,000 connections have less than 1 MB.
const maxAPIBody = 16 << 20

// apiFlags are the flags of commands that read the API of a running kproxy.
type apiFlags struct {
	adminFlags

	json bool
}

func (f *apiFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.addAddress(flags)
	flags.BoolVar(&f.json, "json", false, "print the response as JSON")
	f.addAccess(flags, "`FILE` with the token of admin.token_file", apiTimeout)
}

const apiDefaults = `The default of --admin follows the environment variables of the admin server if they
are set, as in the server's own container: KPROXY_ADMIN_BIND, KPROXY_ADMIN_TLS_CERT
and KPROXY_ADMIN_TOKEN_FILE.`

func newTopologyCommand() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Show the clusters, listeners and brokers of a running kproxy",
		Long: `topology shows the clusters of a running kproxy, and for each listener the brokers
with the addresses where kproxy listens for them, that clients get, and where kproxy
reaches them (GET /api/v1/topology).

` + apiDefaults,
		Example: `  kproxy topology
  kproxy topology --admin https://kproxy.internal:9400 --token-file t --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(cmd.Context(), func(ctx context.Context, client *adminClient) error {
				var t api.Topology
				if err := client.api(ctx, http.MethodGet, http.StatusOK, &t, nil, "topology"); err != nil {
					return err
				}
				if f.json {
					return printJSON(cmd.OutOrStdout(), t)
				}
				return printTopology(cmd.OutOrStdout(), &t)
			})
		},
	}
	cmd.Flags().SortFlags = false
	f.add(cmd)
	return cmd
}

// api sends a request to a path of the API, and reads its response, which must have a status.
func (a *adminClient) api(ctx context.Context, method string, want int, into any, query url.Values, path ...string) error {
	u := a.base.JoinPath(append([]string{api.Prefix}, path...)...)
	u.RawQuery = query.Encode()
	resp, err := a.do(ctx, method, u)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	u.RawQuery = ""
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIBody+1))
	switch {
	case err != nil:
		return a.unreachable(u, err)
	case len(body) > maxAPIBody:
		return fmt.Errorf("%s responds with more than %d MiB, which is not read; if it is kproxy's, read it by another program", u, maxAPIBody>>20)
	}
	switch resp.StatusCode {
	case want:
		if json.Unmarshal(body, into) != nil {
			return notKproxy(u, resp.StatusCode)
		}
		if own, ok := into.(interface{ IsComplete() bool }); ok && !own.IsComplete() {
			return notKproxy(u, resp.StatusCode)
		}
		return nil
	case http.StatusUnauthorized:
		return a.unauthorized(u)
	case http.StatusForbidden, http.StatusMisdirectedRequest:
		return fmt.Errorf("%s: %s", u, foreign.Line(a.refusal(body)))
	}
	var problem api.Problem
	if json.Unmarshal(body, &problem) != nil || problem.Error == "" {
		if resp.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%s responds 404; this kproxy has no such path: it is older than this one", u)
		}
		return notKproxy(u, resp.StatusCode)
	}
	return fmt.Errorf("%s: %s; %s", u, foreign.Line(a.said(problem.Error)), foreign.Line(a.said(problem.Fix)))
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printTopology writes for each cluster its state, and for each listener a heading, and a line for
// each node.
func printTopology(w io.Writer, t *api.Topology) error {
	for i, c := range t.Clusters {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "cluster %s: %s\n", foreign.Line(c.Name), stateOf(&c)); err != nil {
			return err
		}
		for _, l := range c.Listeners {
			kind := "plaintext"
			if l.TLS {
				kind = "TLS"
			}
			if _, err := fmt.Fprintf(w, "\nlistener %s: bootstrap at %s\n  bound at %s, %s, %s\n",
				foreign.Line(l.Name), foreign.Line(l.Advertised), foreign.Line(l.Bind), kind, count(l.Connections, "connection")); err != nil {
				return err
			}
			if refusals := l.Refusals(); refusals != "" {
				fmt.Fprintln(w, "  "+refusals)
			}
			if err := printNodes(w, l.Nodes); err != nil {
				return err
			}
		}
	}
	return nil
}

func printNodes(w io.Writer, nodes []api.Node) error {
	t := columns.New("NODE", "BROKER", "BIND", "ADVERTISED", "DIALLED", "OPEN")
	for _, n := range nodes {
		t.Line(strconv.Itoa(int(n.Node)), foreign.Line(n.Broker), foreign.Line(n.Bind), foreign.Line(n.Advertised), api.Dialled(n.Dialled), strconv.Itoa(n.Connections))
	}
	if len(nodes) == 0 {
		t.Line("?", "no broker is known yet", "-", "-", "-", "-")
	}
	return t.Write(w)
}

// stateOf is the state of a cluster in words.
func stateOf(c *api.Cluster) string {
	switch {
	case c.Up && c.LastResponse != nil:
		return "up, last response " + ago(*c.LastResponse)
	case c.LastError != "" && c.LastFailed != nil:
		return "down, " + ago(*c.LastFailed) + ": " + foreign.Line(c.LastError)
	default:
		return "not asked yet"
	}
}

func ago(t time.Time) string { return max(0, time.Since(t)).Round(time.Second).String() + " ago" }
