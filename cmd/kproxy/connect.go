package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/connect"
	"kproxy/internal/foreign"
)

// connectTimeout bounds one request to a broker: a person waits for it.
const connectTimeout = 8 * time.Second

func newConnectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect HOST:PORT[,HOST:PORT…]…",
		Short: "Make a cluster usable from this machine, by an address of it",
		Long: `connect asks a cluster who its brokers are, finds which of them is at which of the
given addresses, and serves the cluster on loopback, on ports that stay the same in
every run. It prints the configuration that clients here need, and runs until Ctrl-C.
It names every broker that it cannot reach, and the fix.`,
		Example: `  kproxy connect ec2-54-191-84-122.us-west-2.compute.amazonaws.com:9092
  kproxy connect b0.example.com:9092,b1.example.com:9092
  kproxy connect b0.internal:9092 --exec 'kcat -L -b $KAFKA_BOOTSTRAP_SERVERS'
  kproxy connect --config-from client.properties
  kproxy connect b0.internal:9092 --via ssh://me@bastion.example.com`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args, cmd.ErrOrStderr(), func(ctx context.Context, o *connect.Options) error {
				return f.run(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	f.add(cmd)
	return cmd
}

// with runs do with the flags and arguments, until it ends or a signal comes.
func (f *connectFlags) with(ctx context.Context, args []string, stderr io.Writer, do func(context.Context, *connect.Options) error) error {
	o, cleanUp, err := f.options(ctx, args, stderr)
	if err != nil {
		return &usageError{err}
	}
	defer cleanUp()
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // a terminal that is closed; nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	defer stop()
	return do(ctx, o)
}

// run is the command.
func (f *connectFlags) run(ctx context.Context, o *connect.Options, stdout, stderr io.Writer) error {
	s, err := connect.Start(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to stop
		}
		if bad, ok := errors.AsType[*connect.OptionsError](err); ok {
			return &usageError{asFlags(bad.Err)}
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			err = withBindFix(fmt.Errorf("--port: %w", err))
		}
		return asFlags(err)
	}
	told := stdout
	if f.exec != "" {
		told = stderr // stdout is the command's
	}
	tell := func() { tellClients(s, told, stderr, f.exec == "") }
	tell()
	if f.exec == "" {
		o.Say("serving; Ctrl-C ends it")
		return s.Run(ctx, tell)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running, tell) }() // ends with the command
	err = runCommand(f.exec, s.Bootstrap(), stdout, stderr)
	end()
	if failed := <-ended; failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// tellClients prints the configurations for clients, and the failures. A command of
// --exec gets its bootstrap address as a variable, and needs no configurations.
func tellClients(s *connect.Session, w, stderr io.Writer, configurations bool) {
	if len(s.Cluster.Brokers) > 0 {
		_, _ = fmt.Fprintln(w)
		_ = s.Table(w)
	}
	if s.Cluster.NeedsLogin && len(s.Cluster.Brokers) == 0 {
		_, _ = fmt.Fprintf(w, "\nThe cluster wants its clients to log in%s. They do so through kproxy, each by itself; with\n--sasl kproxy does it for them. Who the brokers are is seen when the first one has.\n", by(s.Cluster.Mechanisms))
	}
	if configurations {
		_, _ = fmt.Fprintf(w, "\n%s\n", s.ClientConfig())
	}
	for _, problem := range s.Problems() {
		_, _ = fmt.Fprintln(stderr, "kproxy: "+foreign.LineOf(problem, maxErrorLine))
	}
}

func by(mechanisms []string) string {
	if len(mechanisms) == 0 {
		return ""
	}
	return ", by " + strings.Join(mechanisms, " or ")
}

// addressSeparator separates addresses: a comma, blanks, or both.
var addressSeparator = regexp.MustCompile(`\s*,\s*|\s+`)

// connectStateDir is the folder of the remembered ports: below XDG_STATE_HOME, or its
// default; "" if there is none.
func connectStateDir() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
		if cache, err := os.UserCacheDir(); runtime.GOOS != "linux" && err == nil {
			dir = cache
		}
	}
	return filepath.Join(dir, "kproxy", "connect")
}
