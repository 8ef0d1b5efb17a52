//go:build linux

// Command bench measures the cost of a proxy in front of Kafka: kproxy, the blind
// proxies that people put there, Kroxylicious, and any other that is running.
//
//	go run ./bench --quick                              # under two minutes
//	go run ./bench --json bench.json --html bench.html  # everything: hours
//	go run ./bench --workloads 'fetch-v17-*' --targets direct,kproxy,haproxy --rounds 5
//	go run ./bench real --json real.json                # a real Kafka broker and Kafka's own tools
//	go run ./bench join --html bench.html a.json b.json # one report of several runs
//
// # The parts
//
// Four kinds of processes:
//
//	bench load ──▶ the target ──▶ bench broker        each unprivileged, each in
//	     ▲             ▲               ▲              a network of its own for veth
//	     └──── bench, which starts them, samples /proc, and waits ────┘
//
// A fake broker responds with prepared frames, so that it and the client cost next to
// nothing beside the target. With --brokers the upstream is a real cluster, and
// the client is franz-go. For workloads with TLS there is a second fake broker,
// which speaks it.
//
// # A workload
//
// Each workload starts every target once, those that look at memory anew for each turn.
// In each round each target has its turn, in an order drawn for it; first at the maximum, then, when all rounds are
// over, at one pinned rate that the slowest can carry. A figure is the median of
// the rounds, with the least and the greatest beside it; a ratio is taken in each
// round, between turns a few seconds apart.
//
// # Finding the way
//
//	options.go     flags; suite.go: the run
//	workloads.go   the workloads; run.go: rounds and turns; cell.go: one turn
//	frames.go      the prepared frames; broker.go: the fake broker
//	load*.go       the clients: closed loop, pinned rate, churn, idle, stalled, franz-go
//	targets*.go    the targets: start, version, configuration
//	tls.go         the one certificate, version and cipher of workloads with TLS
//	place.go       loopback, or namespaces joined by veth
//	process.go     children that cannot outlive us; janitor.go: other leftovers
//	measure.go     /proc; cgroup.go: memory with the kernel's
//	real.go        the targets before a real broker, with Kafka's own tools or kcat (realtools.go, realkcat.go, realreport.go)
//	stats.go       medians, spreads, ratios; goals.go: kproxy's promises
//	join.go        one report of several
//	report.go      the rows, as JSON; table.go: on a terminal; html.go: as a page; answer.go: its first lines
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	raiseFileLimit()
	root := newCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err) // the loss of stderr cannot be reported anywhere
	}
	return err
}

// raiseFileLimit takes all the files that we may have, for the children too: Go
// hands them the limit that it was started with, unless it was set by hand.
func raiseFileLimit() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, (*syscall.Rlimit)(&limit)) // as many as there are, then
	}
}

func newCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:           "bench",
		Short:         "Measure the cost of a proxy in front of Kafka",
		Args:          cobra.NoArgs,
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := o.plan(os.Geteuid() == 0)
			if err != nil {
				return err
			}
			if o.list {
				return plan.list(cmd.OutOrStdout())
			}
			return runSuite(cmd.Context(), plan, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(root)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newJoin(),
		newReal(),
		newSize(),
		role("broker", "be the fake broker", serveBroker),
		role("relay", "be the blind Go relay", serveRelay),
		role("load", "be the load generator", serveLoad),
		role("janitor", "remove the leftovers of a suite when it ends", serveJanitor),
	)
	return root
}

// role is one of the suite's own processes: its job is a JSON document on its
// standard input.
func role(name, short string, run func(ctx context.Context, in io.Reader, out io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use:    name,
		Short:  short,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
}
