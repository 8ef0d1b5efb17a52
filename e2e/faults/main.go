//go:build linux

// Command faults is the fault campaign: it breaks parts of a real Kafka cluster and
// compares the effects on clients without kproxy and with it. It writes docs/faults.md.
//
//	near: the clients              link              vpc: three brokers
//	                     ┌─────────────────────────┐
//	direct   client ═════╡                         ╞═════ broker-1.vpc.invalid
//	near     client─kproxy═╡ delays, loses, resets ╞═════ broker-2.vpc.invalid
//	far      client ═════╡ goes silent, is cut     ╞═kproxy─ broker-3.vpc.invalid
//	                     └─────────────────────────┘
//
// Both sides are network namespaces with nothing but the link between them, which this
// process carries packet by packet (lab.Tun), and a name server whose names change
// (lab.Names). A fault is done three times, to the same clients: direct, with kproxy near
// the clients, and with kproxy near the brokers (far). So the same fault hits a client's
// connection in one run and kproxy's in another. A fault of kproxy itself is compared
// with a run without a fault.
//
// The clients are franz-go: an idempotent producer with acks=all and a member of a group, 200
// records a second, every 20th of 100 KB. Afterwards the topic is read at the brokers
// themselves, and each record that was acknowledged must be in it once. A client may dial only
// its intended addresses. Others are refused and counted. The rolling restart has Java's clients
// instead.
//
// Two more brokers join for the last rows, in which they swap their addresses, or one is
// replaced under a new id; a producer of franz-go, Java or kcat is the one client.
//
// The verdict is computed (verdict.go). kproxy is the usual binary, with its defaults.
// One cluster serves all runs, and topics are made anew.
//
//	go run ./e2e/faults                      all of them, about 35 minutes
//	go run ./e2e/faults -only paused,DNS     those whose name contains one of these; prints the table
//	… -out docs/faults.md                    the same, and puts their rows into that table
//	… -sockhash                              every socket is in an eBPF sockhash; the page has a table for it
//
// It needs root, Java 17, kcat, nft and ip, and 3 GiB of memory. Exit code 1: kproxy did
// worse than it may.
//
// site.go is the two networks and the cluster, kproxy.go a kproxy in one of them, load.go
// and audit.go the clients and the count, trace.go their history, run.go one run, faults.go
// the faults, own.go those of kproxy itself, clock.go the clock, moves.go brokers that
// move, java.go and kcat.go other clients, agent.go the sockhash, verdict.go and report.go
// the verdicts and the page.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := campaign(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// options are the flags.
type options struct {
	Only     string
	Out      string
	Dir      string
	Calm     time.Duration
	Sockhash bool
}

func (o options) wants(f fault) bool {
	return slices.ContainsFunc(strings.Split(o.Only, ","), func(part string) bool { return strings.Contains(f.Name, part) })
}

func campaign() error {
	var o options
	flag.StringVar(&o.Only, "only", "", "run the faults whose name contains one of these, parted by commas")
	flag.StringVar(&o.Out, "out", "", "the file to write, docs/faults.md if all are run; with -only, their rows in it")
	flag.StringVar(&o.Dir, "dir", "", "keep the files and logs of the run in this directory")
	flag.DurationVar(&o.Calm, "duration", 5*time.Second, "how long records flow after a fault is over")
	flag.BoolVar(&o.Sockhash, "sockhash", false, "have every socket of the brokers, of kproxy and of the clients in an eBPF sockhash")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	s := &site{options: o, began: time.Now()}
	defer s.Close()
	if err := s.start(ctx); err != nil {
		return err
	}
	var rows []row
	for _, f := range faults() {
		if !o.wants(f) {
			continue
		}
		r, err := s.row(ctx, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil { // the others can still tell something
			r.Verdict = "the run failed: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		rows = append(rows, r)
		s.progress("%s: %s", f.Name, r.Verdict)
	}
	err := errors.Join(s.agent.tell(s), o.write(rows))
	var bad []error
	for _, r := range rows {
		if !r.Good {
			bad = append(bad, fmt.Errorf("%s: %s", r.Fault, r.Verdict))
		}
	}
	return errors.Join(append(bad, err)...)
}

// write writes the table, or its new rows. The page's other table stays.
func (o options) write(rows []row) error {
	if o.Only != "" && o.Out == "" {
		_, err := os.Stdout.WriteString(document(rows, nil))
		return err
	}
	file := cmp.Or(o.Out, "docs/faults.md")
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	plain, hashed, err := tables(string(old))
	if err != nil {
		return err
	}
	table := &plain
	if o.Sockhash {
		table = &hashed
	}
	if o.Only == "" {
		*table = rows
	} else {
		*table = merge(*table, rows)
	}
	return os.WriteFile(file, []byte(document(plain, hashed)), 0o644)
}
