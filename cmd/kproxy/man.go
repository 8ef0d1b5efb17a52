package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Print the manual page of kproxy, or write all pages into DIR",
		Long: `man prints the manual page kproxy(1). With DIR, it writes a page for every
command there: kproxy.1, kproxy-serve.1 and so on. They are for packages; the date
in them is that of SOURCE_DATE_EPOCH if it is set.`,
		Example: `  kproxy man | man -l -
  kproxy man /usr/local/share/man/man1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("man takes one folder; see %s --help", cmd.CommandPath())}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "kproxy " + buildVersion().Version, Manual: "kproxy"}
			if len(args) == 0 {
				return doc.GenMan(root, header, cmd.OutOrStdout())
			}
			return writeManPages(root, header, args[0])
		},
	}
}

// writeManPages writes a page for each command into dir, which it makes if it is not
// there.
func writeManPages(root *cobra.Command, header *doc.GenManHeader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for all to read
		return fmt.Errorf("%w; name a folder that can be written", err)
	}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("%w; name a folder that can be written", err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "kproxy*.1"))
	if err == nil && len(pages) == 0 {
		err = errors.New("no page was written")
	}
	return err
}
