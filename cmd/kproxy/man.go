package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

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
			describeForMan(root)
			if len(args) == 0 {
				return writeManPage(root, cmd.OutOrStdout())
			}
			return writeManPages(root, args[0])
		},
	}
}

// describeForMan lists the other commands on the page of the root command. Cobra's own
// page only refers to theirs.
func describeForMan(root *cobra.Command) {
	root.DisableAutoGenTag = true
	root.Use, root.DisableFlagsInUseLine = root.Name()+" COMMAND", true
	var text strings.Builder
	text.WriteString(root.Long + "\n\n# COMMANDS\n")
	for _, c := range root.Commands() {
		if hasManPage(c) {
			fmt.Fprintf(&text, "**%s**\n\t%s\n\n", c.CommandPath(), c.Short)
		}
	}
	root.Long = text.String()
}

func hasManPage(c *cobra.Command) bool {
	return c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand()
}

// writeManPage writes the page of a command. It omits that a flag may be followed by
// =false.
func writeManPage(c *cobra.Command, w io.Writer) error {
	header := &doc.GenManHeader{Section: "1", Source: "kproxy " + buildVersion().Version, Manual: "kproxy"}
	var page bytes.Buffer
	if err := doc.GenMan(c, header, &page); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(page.Bytes(), []byte("[=false]"), nil))
	return err
}

// writeManPages writes a page for each command into dir, which it makes if it is not
// there.
func writeManPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for all to read
		return fmt.Errorf("%w; name a folder that can be written", err)
	}
	return writeManTree(root, dir)
}

func writeManTree(c *cobra.Command, dir string) error {
	for _, below := range c.Commands() {
		if !hasManPage(below) {
			continue
		}
		if err := writeManTree(below, dir); err != nil {
			return err
		}
	}
	var page bytes.Buffer
	if err := writeManPage(c, &page); err != nil {
		return err
	}
	name := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
	if err := os.WriteFile(name, page.Bytes(), 0o644); err != nil { //nolint:gosec // pages are for all to read
		return fmt.Errorf("%w; name a folder that can be written", err)
	}
	return nil
}
