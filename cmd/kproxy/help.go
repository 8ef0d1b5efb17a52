package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is how many columns help takes.
const helpWidth = 80

// The groups of commands, in the order in which help shows them.
const (
	groupUse   = "use"
	groupRun   = "run"
	groupOther = "other"
)

func addGroups(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: groupUse, Title: "Use a cluster from this machine:"},
		&cobra.Group{ID: groupRun, Title: "Run a proxy for others:"},
		&cobra.Group{ID: groupOther, Title: "Other commands:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
}

// inGroup is a command in a group.
func inGroup(id string, cmd *cobra.Command) *cobra.Command {
	cmd.GroupID = id
	return cmd
}

// flagGroup is the annotation of a flag with its heading in help.
const flagGroup = "kproxy_group"

// groupFlags puts the flags that add defines under a heading.
func groupFlags(cmd *cobra.Command, heading string, add func(flags *pflag.FlagSet)) {
	group := pflag.NewFlagSet(heading, pflag.ContinueOnError)
	group.SortFlags = false
	add(group)
	group.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[flagGroup] = []string{heading}
	})
	cmd.Flags().AddFlagSet(group)
}

// help writes a command's description and its usage.
func help(cmd *cobra.Command, _ []string) {
	text := wrapped(strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)))
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", text, cmd.UsageString())
}

// wrapped breaks paragraphs anew that have a line wider than helpWidth.
func wrapped(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, paragraph := range paragraphs {
		if !slices.ContainsFunc(strings.Split(paragraph, "\n"), func(line string) bool { return utf8.RuneCountInString(line) > helpWidth }) {
			continue
		}
		var lines []string
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > helpWidth {
				lines = append(lines, line)
				line = ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		paragraphs[i] = strings.Join(append(lines, line), "\n")
	}
	return strings.Join(paragraphs, "\n\n")
}

// usage writes how a command is used: cobra's text, with the commands and flags in their
// groups, and no line wider than helpWidth, as far as usage breaks lines.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	writeCommands(&b, cmd)
	writeFlags(&b, cmd)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nEach command's own help: %s COMMAND --help\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	shown := func(title string, is func(c *cobra.Command) bool) {
		first := true
		for _, c := range cmd.Commands() {
			if !is(c) || !c.IsAvailableCommand() && c.Name() != "help" {
				continue
			}
			if first {
				fmt.Fprintf(b, "\n%s\n", title)
				first = false
			}
			fmt.Fprintf(b, "  %-*s %s\n", c.NamePadding(), c.Name(), c.Short)
		}
	}
	for _, group := range cmd.Groups() {
		shown(group.Title, func(c *cobra.Command) bool { return c.GroupID == group.ID })
	}
	shown("Commands:", func(c *cobra.Command) bool { return c.GroupID == "" })
}

func writeFlags(b *strings.Builder, cmd *cobra.Command) {
	var headings []string
	sets := map[string]*pflag.FlagSet{}
	visit := func(f *pflag.Flag) {
		heading := "Flags"
		if group := f.Annotations[flagGroup]; len(group) > 0 {
			heading = group[0]
		}
		if sets[heading] == nil {
			headings = append(headings, heading)
			sets[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
			sets[heading].SortFlags = false
		}
		sets[heading].AddFlag(f)
	}
	cmd.LocalFlags().VisitAll(visit)
	cmd.InheritedFlags().VisitAll(visit)
	for _, heading := range headings {
		if text := sets[heading].FlagUsagesWrapped(helpWidth); text != "" {
			fmt.Fprintf(b, "\n%s:\n%s", heading, text)
		}
	}
}
