package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kproxy/internal/api"
	"kproxy/internal/top"
)

func newTopCommand() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the brokers and connections of a running kproxy",
		Long: `top shows the connections of a running kproxy in a terminal, those with the most bytes
first, and its clusters, listeners and brokers. It asks every two seconds. ? lists the
keys: another order, a filter, closing a connection, a pause.

With --json it prints one state, and ends.

` + apiDefaults,
		Example: `  kproxy top
  kproxy top --admin https://kproxy.internal:9400 --ca ca.pem --token-file t`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(cmd.Context(), func(ctx context.Context, client *adminClient) error {
				source := topSource{client}
				if f.json {
					return source.print(ctx, cmd.OutOrStdout())
				}
				if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
					return &usageError{errors.New("top wants a terminal; kproxy top --json and kproxy connections do not")}
				}
				if _, err := source.Topology(ctx); err != nil { // an address or a token that is wrong
					return err
				}
				if _, err := tea.NewProgram(top.New(source, client.base.Host), tea.WithContext(cmd.Context())).Run(); err != nil {
					return fmt.Errorf("the terminal: %w", err)
				}
				return nil
			})
		},
	}
	cmd.Flags().SortFlags = false
	f.add(cmd)
	return cmd
}

// topSource is a top.Source by the API.
type topSource struct{ client *adminClient }

// print prints one state as JSON.
func (s topSource) print(ctx context.Context, stdout io.Writer) (err error) {
	var state struct {
		*api.Topology
		*api.Connections
	}
	if state.Topology, err = s.Topology(ctx); err != nil {
		return err
	}
	if state.Connections, err = s.Connections(ctx, url.Values{"sort": {"-bytes"}, "limit": {strconv.Itoa(pageSize)}}); err != nil {
		return err
	}
	return printJSON(stdout, state)
}

// Topology implements top.Source.
func (s topSource) Topology(ctx context.Context) (*api.Topology, error) {
	t := &api.Topology{}
	return t, s.client.api(ctx, http.MethodGet, http.StatusOK, t, nil, "topology")
}

// Connections implements top.Source.
func (s topSource) Connections(ctx context.Context, query url.Values) (*api.Connections, error) {
	c := &api.Connections{}
	return c, s.client.api(ctx, http.MethodGet, http.StatusOK, c, query, "connections")
}

// Disconnect implements top.Source.
func (s topSource) Disconnect(ctx context.Context, id uint64) error {
	return s.client.disconnect(ctx, strconv.FormatUint(id, 10))
}
