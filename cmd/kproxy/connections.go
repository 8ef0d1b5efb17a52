package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/api"
	"kproxy/internal/columns"
	"kproxy/internal/top"
)

// mostConnections is the most connections that are listed: more than a process may have open.
const mostConnections = 1_000_000

// bootstrapNode is the node of connections to a bootstrap endpoint, as the metrics have it.
const bootstrapNode = "bootstrap"

// pageSize is how many connections are asked for in one request.
const pageSize = 1000

// connectionsFlags are the flags of connections.
type connectionsFlags struct {
	apiFlags

	filters map[string]*string
	sort    string
	limit   int
}

func newConnectionsCommand() *cobra.Command {
	f := connectionsFlags{filters: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "Show the open connections of a running kproxy, or close one",
		Long: `connections shows the open connections of a running kproxy (GET /api/v1/connections):
the client, the listener and the node whose endpoint it chose, how long no byte has
come, the bytes to both sides, the requests in flight, and who it is: its client id, its
user at kproxy, its software. --json has more.

` + apiDefaults,
		Example: `  kproxy connections --sort -bytes --limit 10
  kproxy connections --cluster orders --node 3 --software java --json
  kproxy connections close 4711`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	for _, filter := range []struct{ flag, name, help string }{
		{"cluster", "cluster", "only those of the cluster `NAME`"},
		{"listener", "listener", "only those of the listener `NAME`"},
		{"node", "node", "only those of the endpoint of the node with this `ID`; or bootstrap"},
		{"state", "state", "only those in this `STATE`: arriving, open or ending"},
		{"path", "path", "only those whose large frames take this `PATH`: splice or copy"},
		{"client", "client", "only those whose host:port contains this `TEXT`"},
		{"client-id", "client_id", "only those whose client.id contains this `TEXT`"},
		{"user", "user", "only those whose user at kproxy contains this `TEXT`"},
		{"software", "software", "only those whose software contains this `TEXT`"},
		{"broker", "broker", "only those whose dialled address contains this `TEXT`"},
		{"text", "text", "only those that contain this `TEXT` in any of these"},
	} {
		f.filters[filter.name] = flags.String(filter.flag, "", filter.help)
	}
	flags.StringVar(&f.sort, "sort", "id", "the `ORDER`: id, opened, idle, bytes or in_flight; - in front reverses it")
	flags.IntVar(&f.limit, "limit", 100, "how many are shown at most")
	f.add(cmd)
	cmd.AddCommand(newDisconnectCommand())
	return cmd
}

func (f *connectionsFlags) run(ctx context.Context, stdout io.Writer) error {
	if f.limit < 1 || f.limit > mostConnections {
		return &usageError{errors.New("--limit: it must be from 1 to 1000000; write one such as 100")}
	}
	if node := *f.filters["node"]; node != bootstrapNode && strings.Trim(node, "0123456789") != "" {
		return &usageError{fmt.Errorf("--node: %s is no id of a node; write a number, or %s", quoted(node), bootstrapNode)}
	}
	return f.use(ctx, func(ctx context.Context, client *adminClient) error {
		all, err := f.fetch(ctx, client)
		if err == nil && all.Total == 0 && !f.json && *f.filters["cluster"]+*f.filters["listener"] != "" {
			err = f.findNames(ctx, client)
		}
		if err != nil {
			return err
		}
		if f.json {
			return printJSON(stdout, all)
		}
		return printConnections(stdout, all, time.Now())
	})
}

// fetch reads as many pages as it takes.
func (f *connectionsFlags) fetch(ctx context.Context, client *adminClient) (all *api.Connections, err error) {
	query := url.Values{"sort": {f.sort}}
	for name, value := range f.filters {
		switch {
		case name == "node" && *value == bootstrapNode:
			query.Set(name, "")
		case *value != "":
			query.Set(name, *value)
		}
	}
	all = &api.Connections{Connections: []api.Connection{}}
	for {
		query.Set("limit", strconv.Itoa(min(pageSize, f.limit-len(all.Connections))))
		var page api.Connections
		if err := client.api(ctx, http.MethodGet, http.StatusOK, &page, query, "connections"); err != nil {
			return nil, err
		}
		all.Total, all.Next = page.Total, page.Next
		all.Connections = append(all.Connections, page.Connections...)
		if page.Next == "" || len(page.Connections) == 0 || len(all.Connections) >= f.limit {
			return all, nil
		}
		query.Set("cursor", page.Next)
	}
}

// findNames refuses names of clusters and listeners that kproxy does not have: no connections of one would look as
// if no client was there.
func (f *connectionsFlags) findNames(ctx context.Context, client *adminClient) error {
	var t api.Topology
	if err := client.api(ctx, http.MethodGet, http.StatusOK, &t, nil, "topology"); err != nil {
		return err
	}
	var clusters, listeners []string
	for _, c := range t.Clusters {
		clusters = append(clusters, c.Name)
		for _, l := range c.Listeners {
			if name := *f.filters["cluster"]; name == "" || name == c.Name {
				listeners = append(listeners, l.Name)
			}
		}
	}
	for _, each := range []struct {
		flag string
		all  []string
	}{{"cluster", clusters}, {"listener", listeners}} {
		name := *f.filters[each.flag]
		if name != "" && !slices.Contains(each.all, name) {
			slices.Sort(each.all)
			return fmt.Errorf("--%s: there is no %s %s; there is %s", each.flag, each.flag, quoted(name), strings.Join(slices.Compact(each.all), ", "))
		}
	}
	return nil
}

func printConnections(w io.Writer, all *api.Connections, now time.Time) error {
	t := columns.New("ID", "CLIENT", "LISTENER", "NODE", "IDLE", "BYTES", "FLIGHT", "WHO")
	for _, c := range all.Connections {
		node := "-"
		if c.Node != nil {
			node = strconv.Itoa(int(*c.Node))
		}
		t.Line(strconv.FormatUint(c.ID, 10), c.Client, c.Cluster+"/"+c.Listener, node,
			top.Duration(c.Idle), top.Bytes(float64(c.BytesUp+c.BytesDown)), strconv.Itoa(c.InFlight),
			top.Who(&c)+", since "+top.Duration(now.Sub(c.Opened).Seconds()))
	}
	if err := t.Write(w); err != nil {
		return err
	}
	if left := all.Total - len(all.Connections); left > 0 {
		_, err := fmt.Fprintf(w, "%d more; --limit shows them\n", left)
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n", count(all.Total, "connection"))
	return err
}

func newDisconnectCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "close ID",
		Short: "Close one connection, once the responses in flight are delivered",
		Long: `close has a connection of a running kproxy end (DELETE /api/v1/connections/ID). The
client gets the responses to its requests in flight first. If that takes longer than
drain.timeout, the connection is cut. The client may connect again.

` + apiDefaults,
		Example: `  kproxy connections close 4711`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("close wants the id of one connection; kproxy connections has it")}
			}
			if _, err := strconv.ParseUint(args[0], 10, 64); err != nil {
				return &usageError{fmt.Errorf("%s is no id of a connection; kproxy connections has it", quoted(args[0]))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(cmd.Context(), func(ctx context.Context, client *adminClient) error {
				if err := client.disconnect(ctx, args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "connection %s ends once its responses in flight are delivered\n", args[0])
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.addAddress(flags)
	f.addAccess(flags, "`FILE` with the token of admin.token_file", apiTimeout)
	return cmd
}

// disconnect has a connection end.
func (a *adminClient) disconnect(ctx context.Context, id string) error {
	var ended struct {
		ID uint64 `json:"id"`
	}
	return a.api(ctx, http.MethodDelete, http.StatusAccepted, &ended, nil, "connections", id)
}
