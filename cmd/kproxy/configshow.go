package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"kproxy/internal/api"
	"kproxy/internal/columns"
	"kproxy/internal/foreign"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config COMMAND",
		Short: "Show the configuration of a running kproxy",
		Args:  noArguments,
	}
	cmd.AddCommand(newConfigShowCommand())
	return cmd
}

func newConfigShowCommand() *cobra.Command {
	var (
		f   apiFlags
		all bool
		key string
	)
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the values in use, without secrets, and where each comes from",
		Long: `show prints the configuration that a running kproxy uses (GET /api/v1/config): each
value that is in the file, with its line, or in an environment variable, with its name.
--all adds the defaults. Secrets are not shown.

` + apiDefaults,
		Example: `  kproxy config show
  kproxy config show --all --at clusters.orders.listeners.edge`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(cmd.Context(), func(ctx context.Context, client *adminClient) error {
				query := url.Values{}
				if key != "" {
					query.Set("key", key)
				}
				var c api.Config
				if err := client.api(ctx, http.MethodGet, http.StatusOK, &c, query, "config"); err != nil {
					return err
				}
				switch {
				case key != "" && len(c.Settings) == 0:
					return fmt.Errorf("the configuration in use has no key %s; kproxy config show --all lists its keys", quoted(key))
				case f.json:
					return printJSON(cmd.OutOrStdout(), c)
				}
				return printConfig(cmd.OutOrStdout(), &c, all)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&key, "at", "", "only this `KEY`, and those below it")
	flags.BoolVar(&all, "all", false, "the defaults, too")
	f.add(cmd)
	return cmd
}

func printConfig(w io.Writer, c *api.Config, all bool) error {
	if _, err := fmt.Fprintf(w, "%s, generation %d\n", foreign.Line(c.File), c.Generation); err != nil {
		return err
	}
	t := columns.New("FROM", "KEY", "VALUE")
	defaults := 0
	for _, s := range c.Settings {
		if s.From == api.FromDefault && !all {
			defaults++
			continue
		}
		t.Line(s.Source(), s.Key, s.Value)
	}
	if err := t.Write(w); err != nil {
		return err
	}
	if defaults > 0 {
		if _, err := fmt.Fprintf(w, "%s; --all shows them\n", count(defaults, "default")); err != nil {
			return err
		}
	}
	if c.LeftOut > 0 {
		_, err := fmt.Fprintf(w, "%d more; --at KEY selects\n", c.LeftOut)
		return err
	}
	return nil
}
