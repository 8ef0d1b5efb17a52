//go:build linux

// Command suites runs the test suites of other projects through kproxy and directly, and
// writes the differences to docs/suites.md.
//
//	go run ./e2e/suites                       # all of them: an hour on two cores
//	go run ./e2e/suites --quick               # those that need no JVM: minutes; .ci/run has it
//	go run ./e2e/suites --suites kgo,librdkafka-classic
//
// A suite is a package of another project: a Go module, or a package of npm. Its tests are
// in the package; nothing of them is kept here. Each suite runs twice with the same
// brokers:
//
//	directly         the brokers advertise addresses that work
//	through kproxy   they advertise broker-N.vpc.invalid:9092, which resolves nowhere;
//	                 kproxy reaches them by a dial rule
//
// Everything runs in a network namespace with no way out. A client that gets a broker's own
// address cannot use it, and its test fails.
//
// # Verdict
//
// A test that fails through kproxy gets a second try. It counts against kproxy if it fails
// there again, and passes directly in one of its tries. A test that does not end, or that
// is skipped through kproxy alone, counts as one that fails.
//
// # Finding the way
//
// suite.go has the interface of a suite, and the list of all; kgo.go, kfake.go, librdkafka.go
// and sarama.go have them. kafka.go and fake.go start brokers, front.go starts kproxy and reads
// its counts, kafkapath.go and docker.go have programs that a suite starts, site.go the network.
// campaign.go runs a suite both ways, verdict.go compares, gotest.go and testrunner.go read a
// suite's output. page.go writes the page, known.go explains differences.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// options are the flags.
type options struct {
	suites  []string
	quick   bool
	records int
	out     string
	tables  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if filepath.Base(os.Args[0]) == dockerName {
		os.Exit(docker(os.Args[1:])) //nolint:forbidigo,gocritic // this is main, in the place of another program
	}
	var o options
	cmd := &cobra.Command{
		Use:           "suites",
		Short:         "The test suites of other projects, through kproxy and directly",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runSuites(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.suites, "suites", nil, "suites by name, such as kgo or kgo-fake-*; all of them if none is given")
	f.BoolVar(&o.quick, "quick", false, "the suites that need no JVM, each with both ways at once")
	f.IntVar(&o.records, "records", 50_000, "records that kgo's tests send")
	f.StringVar(&o.out, "out", "", "file for the page; none is written if it is empty")
	f.StringVar(&o.tables, "tables", "", "directory for the tables by test name; none are written if it is empty")
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		stop()
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// choose returns the suites of the run. A name that matches nothing is an error: a run
// without a test must not look like one that passed.
func choose(o options) (chosen []suite, err error) {
	matched := map[string]bool{}
	for _, s := range suites(o) {
		about := s.about()
		if o.quick && !about.quick {
			continue
		}
		wanted := len(o.suites) == 0
		for _, name := range o.suites {
			if ok, err := path.Match(name, about.name); err != nil {
				return nil, fmt.Errorf("--suites: %q: %w", name, err)
			} else if ok {
				wanted, matched[name] = true, true
			}
		}
		if wanted {
			chosen = append(chosen, s)
		}
	}
	for _, name := range o.suites {
		if !matched[name] {
			return nil, fmt.Errorf("--suites: no suite of this run is named %q", name)
		}
	}
	return chosen, nil
}

func runSuites(ctx context.Context, o options) (err error) {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	s, err := newSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()

	for _, r := range newCampaign(s, o).runAll(ctx, chosen) {
		if ctx.Err() != nil {
			continue // until all have ended
		}
		err = errors.Join(err, r.problem())
		if r.err != nil {
			continue
		}
		if o.tables != "" {
			err = errors.Join(err, r.writeTable(o.tables))
		}
		if o.out != "" {
			err = errors.Join(err, writePage(o.out, r))
		}
	}
	return cmp.Or(context.Cause(ctx), err)
}
