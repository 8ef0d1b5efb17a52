//go:build linux

// Command compat runs Kafka's releases from 2.2 with ZooKeeper on, every common client,
// and its usual work, through kproxy and directly, and writes the results to
// docs/compatibility.md.
//
//	go run ./e2e/compat                  # everything: more than an hour on two cores
//	go run ./e2e/compat --quick          # every release with two clients, every client with the newest
//	go run ./e2e/compat --brokers 2.2.1 --clients kcat,franz --work SASL
//
// # The places
//
// Each release runs in the story's three networks, as network namespaces: only
// `vpc` holds the brokers and resolves their names; a client in `docker` or
// `outside` reaches kproxy, which stands at the edge of `vpc`, and no other machine.
//
//	docker   kproxy:19092 (BOB) ─────────────────────────┐
//	vpc      localhost:19092 (FRED) ─────────── kproxy ──┼── ip-172-31-18-16N.us-west-2.compute.internal:9092
//	outside  never-gonna-give-you-up:29094 (ALICE) ──────┘
//
// In the matrix a client in `outside` even resolves the brokers' names, to addresses that
// a firewall counts and refuses: a leak is a counted connection, and a single one is a
// failure.
//
// # A cell
//
// A cell is one work of one client with one release. The client does it twice, from
// `outside` through kproxy and in `vpc` with the brokers themselves, at the same time, on
// topics of their own. Its own library reports work that it cannot do (clients/README.md
// has the contract). No client is asked for work that the broker cannot do.
//
// # Finding the way
//
// places.go has the networks, kproxy's configuration and the leak counter; kafka.go the
// cluster; clients.go how clients are built and run; work.go their work; changes.go the
// work that goes on while the cluster changes; table.go the page. clients/ has the
// clients themselves.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kproxy/e2e/lab"
)

// options are the flags.
type options struct {
	brokers, clients, works []string
	quick                   bool
	out                     string
	workers                 int
	record                  string
	stdout                  io.Writer
}

// wants reports whether a client was asked for.
func (o options) wants(client string) bool {
	return len(o.clients) == 0 || slices.Contains(o.clients, client)
}

// check refuses names that match nothing: a run without a cell must not look like one
// that passed.
func (o options) check() error {
	for _, client := range o.clients {
		if !slices.Contains(clientNames, client) {
			return fmt.Errorf("--clients: there is no %q; there are %s", client, strings.Join(clientNames, ", "))
		}
	}
	for _, name := range o.works {
		if !slices.ContainsFunc(works, func(w *work) bool { return strings.Contains(w.name, name) }) {
			return fmt.Errorf("--work: %q is in no work's name", name)
		}
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	cmd := &cobra.Command{
		Use:           "compat",
		Short:         "kproxy with every Kafka and every client",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.stdout = cmd.OutOrStdout()
			return run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.brokers, "brokers", lab.Releases(), "releases of Kafka")
	f.StringSliceVar(&o.clients, "clients", nil, "clients; all of them if none is named")
	f.StringSliceVar(&o.works, "work", nil, "works whose name contains one of these; all of them if none is given")
	f.BoolVar(&o.quick, "quick", false, "every release with two clients, every client with the newest release")
	f.StringVar(&o.out, "out", "", "file for the page; none is written if it is empty")
	f.IntVar(&o.workers, "workers", 3, "cells at a time")
	f.StringVar(&o.record, "record", "", "directory for the frames of each release, which rewrite's tests replay")
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		stop()
		os.Exit(1) //nolint:forbidigo,gocritic // this is main, which has called stop
	}
}

// errCells says that some cells failed.
var errCells = errors.New("cells failed")

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(os.Getenv("E2E_DIR"), "kproxy-compat-")
	if err != nil {
		return err
	}
	if os.Getenv("E2E_DIR") == "" {
		defer os.RemoveAll(dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := o.check(); err != nil {
		return err
	}

	build, err := buildAll(ctx, dir, o)
	if err != nil {
		return err
	}
	m := &matrix{run: fmt.Sprintf("%s, kproxy %s, on %s", time.Now().UTC().Format(time.DateOnly), lab.Revision(), lab.Machine())}
	for _, version := range o.brokers {
		clients, err := build.clients(ctx, version, o)
		if err != nil {
			return err
		}
		plan := plan(version, clients, o)
		if len(plan) == 0 {
			continue
		}
		section, err := runRelease(ctx, build, version, clients, plan, o)
		if section != nil {
			m.releases = append(m.releases, section)
		}
		if err != nil {
			return fmt.Errorf("Kafka %s: %w", version, err) //nolint:staticcheck // a name
		}
		if o.out != "" { // now: a failure of the next release must not lose it
			if err := m.write(o.out); err != nil {
				return err
			}
		}
	}
	passed, failed, skipped := m.count()
	for _, c := range m.failures() {
		fmt.Fprintln(os.Stderr, c)
	}
	fmt.Fprintf(o.stdout, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		return fmt.Errorf("%w: %d", errCells, failed)
	}
	return nil
}

// plan is the cells of a release.
func plan(version string, clients []*client, o options) []*cell {
	var cells []*cell
	for _, w := range works {
		slow := o.quick && version != lab.Newest && w.change != nil && !w.brief
		if slow || !w.offeredBy(version) || !selected(w.name, o.works) {
			continue
		}
		if w.networks != nil {
			cells = append(cells, &cell{client: together, work: w})
			continue
		}
		for _, c := range clients {
			cells = append(cells, &cell{client: c, work: w})
		}
	}
	return cells
}

func selected(name string, parts []string) bool {
	return len(parts) == 0 || slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, part) })
}
