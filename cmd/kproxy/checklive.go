package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kproxy/internal/connect"
	"kproxy/internal/foreign"
	"kproxy/internal/live"
)

// liveTime bounds a check against the clusters. Each step of a cluster and of a listener has
// a shorter time of its own.
const liveTime = 5 * time.Minute

// liveFlags are the flags of a check against the clusters and the listeners' addresses.
type liveFlags struct {
	on         bool
	json       bool
	served     bool
	configFrom []string
	running    adminFlags // of a kproxy that runs; without an address there is none
}

func (f *liveFlags) add(cmd *cobra.Command) {
	groupFlags(cmd, "Against the clusters", func(flags *pflag.FlagSet) {
		flags.BoolVar(&f.on, "live", false, "also connect to the brokers, and to the listeners' advertised addresses")
		flags.StringArrayVar(&f.configFrom, "config-from", nil, "with --live, try listeners with the TLS and login of a client's `FILE` (client.properties, or librdkafka's keys): those that its bootstrap.servers name, or all; it may be repeated")
		flags.BoolVar(&f.served, "served", false, "with --live, kproxy already serves every listener, here or elsewhere: one that is not reached is a fault, and not a note")
		flags.BoolVar(&f.json, "json", false, "with --live, print JSON instead of a text")
	})
	groupFlags(cmd, "A kproxy that runs", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.running.admin, "admin", "", "with --live, and in place of --config: try the listeners of the kproxy with this admin server (`URL`)")
		f.running.addAccess(flags, "`FILE` with the token of admin.token_file", apiTimeout)
		flags.Lookup("timeout").Usage = "how long to wait for the admin server"
	})
}

// validate finds flags that do nothing without --live or --admin, or beside it.
func (f *liveFlags) validate(file string, flags *pflag.FlagSet) error {
	if f.running.admin == "" {
		for _, name := range []string{"token-file", "ca", "insecure", "timeout"} {
			if flags.Changed(name) {
				return &usageError{fmt.Errorf("--%s is for --admin; add --admin URL", name)}
			}
		}
	}
	switch {
	case f.on && f.running.admin != "" && file != "":
		return &usageError{errors.New("--config and --admin: check tries a file, or a kproxy that runs; leave one of them out")}
	case f.on && f.running.admin == "" && file == "":
		return &usageError{errors.New("--config is missing; name the configuration file, or with --admin the kproxy that runs")}
	case f.on && f.running.admin != "" && f.served:
		return &usageError{errors.New("--served: the kproxy of --admin serves; leave it out")}
	case f.on:
		return nil
	case f.running.admin != "":
		return &usageError{errors.New("--admin is for --live; add --live")}
	case len(f.configFrom) > 0:
		return &usageError{errors.New("--config-from is for --live; add --live")}
	case f.served:
		return &usageError{errors.New("--served is for --live; add --live")}
	case f.json:
		return &usageError{errors.New("--json is for --live; add --live")}
	}
	return nil
}

// check is the command with --live.
func (f *liveFlags) check(ctx context.Context, file string, stdout, stderr io.Writer) error {
	s, err := checked(ctx, file, stderr)
	if err == nil && !f.json {
		err = printChecked(stdout, s)
	}
	if err != nil {
		return err
	}
	var advertised []string
	for _, c := range s.plan.Clusters {
		for _, l := range c.Listeners {
			advertised = append(advertised, l.BootstrapAddress())
		}
	}
	err = f.try(ctx, &live.Options{Config: &s.Proxy, Served: f.served}, advertised, stdout, stderr)
	if bad, ok := errors.AsType[*unusableError](err); ok {
		return s.mistakes(bad.error)
	}
	return err
}

// checkRunning is the command with --live and --admin.
func (f *liveFlags) checkRunning(ctx context.Context, stdout, stderr io.Writer) error {
	var state runningState
	if err := f.running.use(ctx, state.fetch); err != nil {
		return err
	}
	running, err := state.running()
	if err == nil && !f.json {
		_, err = io.WriteString(stdout, state.heading())
	}
	if err != nil {
		return err
	}
	var advertised []string
	for _, c := range running.Clusters {
		for _, l := range c.Listeners {
			advertised = append(advertised, l.Advertised)
		}
	}
	return f.try(ctx, &live.Options{Running: running}, advertised, stdout, stderr)
}

// unusableError is about a configuration that cannot be used.
type unusableError struct{ error }

// try runs a check, and prints its report. advertised are the bootstrap addresses of the listeners.
func (f *liveFlags) try(ctx context.Context, o *live.Options, advertised []string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	clients, closeClients, err := f.clients(ctx, stderr)
	if err != nil {
		return &usageError{err}
	}
	defer closeClients()
	if unused := live.Unused(advertised, clients); len(unused) > 0 {
		return &usageError{fmt.Errorf("--config-from %s: its bootstrap.servers (%s) name no listener's advertised address; give the file of a client of this kproxy, or leave bootstrap.servers out of it",
			unused[0].File, strings.Join(unused[0].Bootstrap, ","))}
	}
	ctx, cancel := context.WithTimeout(ctx, liveTime)
	defer cancel()
	progress := newProgress(stderr)
	o.Clients, o.Progress = clients, progress.set
	r, err := live.Check(ctx, o)
	progress.end()
	if err != nil {
		return &unusableError{err}
	}
	isComplete := ctx.Err() == nil
	if f.json {
		err = writeLiveJSON(stdout, r, isComplete)
	} else {
		err = writeLive(stdout, r, isComplete, styleOf(stdout))
	}
	if err != nil {
		return err
	}
	if !isComplete {
		return errors.New("stopped before everything was checked")
	}
	if n := r.Faults(); n > 0 {
		return errors.New(count(n, "fault"))
	}
	return nil
}

// clients reads the clients' configurations.
func (f *liveFlags) clients(ctx context.Context, stderr io.Writer) (clients []live.Client, closeAll func(), err error) {
	var open []*connect.Client
	closeAll = func() {
		for _, c := range open {
			c.Close()
		}
	}
	for _, file := range f.configFrom {
		from, err := connect.FromFile(ctx, file)
		if err == nil {
			open = append(open, from)
			err = from.NoLogin
		}
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		for _, note := range from.Notes {
			_, _ = fmt.Fprintln(stderr, "kproxy: "+foreign.LineOf(note, maxErrorLine)) // as other notes
		}
		clients = append(clients, live.Client{File: foreign.Line(file), Bootstrap: from.Bootstrap, TLS: from.TLS, SASL: from.SASL})
	}
	return clients, closeAll, nil
}

// liveReport is the output of --json. docs/check.md has the schema; a test holds it against
// this.
type liveReport struct {
	Sound    bool           `json:"sound"`
	Faults   int            `json:"faults"`
	Findings []live.Finding `json:"findings"`
}

func writeLiveJSON(w io.Writer, r *live.Report, isComplete bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(liveReport{Sound: isComplete && r.Faults() == 0, Faults: r.Faults(), Findings: append([]live.Finding{}, r.Findings...)})
}
