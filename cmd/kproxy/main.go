// Command kproxy is a layer-7 proxy for Kafka: clients bootstrap from it, and every
// broker address that they get is one of its own. See kproxy --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/logkey"
	"kproxy/internal/resolver"
)

// The exit codes of the process.
const (
	exitDone   = 0
	exitFailed = 1 // it ran and failed
	exitUsage  = 2 // flags, arguments or configuration are wrong
)

// maxErrorLine is the most characters of one line of an error, because errors quote
// peers. It is enough for the longest list of keys.
const maxErrorLine = 4000

func main() {
	resolver.Use()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: its arguments in, its exit code out.
func run(args []string, stdout, stderr io.Writer) int {
	silenceLibraries()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	strictCompletion(root) // it keeps where stdout is
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	if status, ok := err.(*statusError); ok { //nolint:errorlint // joined with another, that one is printed
		return status.code
	}
	// The loss of stderr cannot be reported anywhere.
	write := func(line string) { _, _ = fmt.Fprintf(stderr, "kproxy: %s\n", line) }
	if failed, ok := errors.AsType[*startError](err); ok && failed.json {
		log := slog.New(slog.NewJSONHandler(stderr, nil))
		write = func(line string) { log.Error("kproxy does not start", slog.String(logkey.Error, line)) }
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		for line := range strings.SplitSeq(err.Error(), "\n") {
			write(foreign.LineOf(line, maxErrorLine))
		}
	}()
	within(flushWait, told)
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// usageError says that the command line or configuration is wrong: kproxy did not run.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRootCommand() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "kproxy",
		Short: "A Kafka proxy: clients get broker addresses that work for them",
		Long: `kproxy is a proxy for Kafka. Brokers tell their clients addresses that often work
only near the brokers. kproxy replaces these by addresses of its own, which work
where the clients are.`,
		Example: `  kproxy connect kafka.example.com:9092   use a cluster from this machine
  kproxy doctor kafka.example.com:9092    find out why clients here cannot
  kproxy demo                             see kproxy at work, without a cluster`,
		Args: cobra.ArbitraryArgs, // RunE's error says more about them than cobra's
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				return buildVersion().print(cmd.OutOrStdout())
			}
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return &usageError{errors.New("no command; see kproxy --help")}
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return refuseEmpty(cmd.Flags()) },
		SilenceErrors:     true, // run prints them
		SilenceUsage:      true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.Flags().BoolVar(&version, "version", false, "print the version, as kproxy version does")
	root.SetUsageFunc(usage)
	root.SetHelpFunc(help)
	addGroups(root)
	root.AddCommand(
		inGroup(groupUse, newConnectCommand()),
		inGroup(groupUse, newDoctorCommand()),
		inGroup(groupRun, newServeCommand()),
		inGroup(groupRun, newCheckCommand()),
		inGroup(groupRun, newHealthCommand()),
		inGroup(groupRun, newReloadCommand()),
		inGroup(groupRun, newUpgradeCommand()),
		inGroup(groupRun, newTopCommand()),
		inGroup(groupRun, newTopologyCommand()),
		inGroup(groupRun, newConnectionsCommand()),
		inGroup(groupRun, newConfigCommand()),
		inGroup(groupRun, newPasswdCommand()),
		inGroup(groupOther, newDemoCommand()),
		inGroup(groupOther, newManCommand()),
		inGroup(groupOther, newVersionCommand()),
	)
	if err := completeFlags(root); err != nil {
		panic(err) // two completions of one flag
	}
	return root
}

// refuseEmpty refuses a flag with an empty text, which a script writes whose variable is not set. It
// would mean that the flag is not there, and a check would check less.
func refuseEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && err == nil {
			err = &usageError{fmt.Errorf("--%s: it is empty; write a value, or leave the flag out", f.Name)}
		}
	})
	return err
}

func unknownCommand(root *cobra.Command, name string) error {
	var known []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return &usageError{fmt.Errorf("unknown command %q; %s", hostport.WithoutUser(name), suggest(name, known))}
}

// noArguments is for commands that take flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q; see %s --help", hostport.WithoutUser(args[0]), cmd.CommandPath())}
	}
	return nil
}

// addConfigFlag gives a command the flag that names its configuration file.
func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the configuration `file` (YAML); it may be a pipe")
}
