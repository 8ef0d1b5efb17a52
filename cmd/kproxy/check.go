package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newCheckCommand() *cobra.Command {
	var (
		file   string
		schema bool
		live   liveFlags
	)
	cmd := &cobra.Command{
		Use:   "check {--config FILE [--live] | --live --admin URL}",
		Short: "Validate a configuration and show the addresses it would bind",
		Long: "Validate a configuration, with the environment variables that override it, and\n" +
			"show the addresses it would bind. check refuses every configuration that serve refuses, and reports all\n" +
			"mistakes at once, one a line: FILE:LINE:COLUMN: key: problem; fix.\n\n" +
			"The files and secrets that the configuration names are read. check alone also\n" +
			"refuses a certificate that is not for all names that clients are given. It opens\n" +
			"no socket, asks no broker, and changes nothing.\n\n" +
			"With --live it also connects: to every bootstrap address and every broker, as serve would,\n" +
			"and then to the advertised addresses of every listener, as a client here would. It names each\n" +
			"fault with its key and a fix, and ends with 1 if there is one. It binds nothing and writes nothing:\n" +
			"run it before kproxy starts, or beside a kproxy that runs.\n\n" +
			"With --live and --admin it takes the listeners and their nodes from the kproxy that runs, in place\n" +
			"of a file, and tries their advertised addresses. It needs no secret of kproxy's. Run it where a\n" +
			"client runs: it tries names, ports and certificates from there.",
		Example: `  kproxy check --config kproxy.yaml
  kproxy check --config kproxy.yaml --live --config-from client.properties
  kproxy check --live --admin https://kproxy.internal:9400 --token-file t`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if schema {
				return printSchema(cmd.OutOrStdout())
			}
			if err := live.validate(file, cmd.Flags()); err != nil {
				return err
			}
			switch {
			case live.on && file == "":
				return live.checkRunning(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			case live.on:
				return live.check(cmd.Context(), file, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return check(cmd.Context(), file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&schema, "print-schema", false, "print the JSON schema of the configuration file instead")
	live.add(cmd)
	return cmd
}

// notChecked ends the output about a valid configuration.
const notChecked = `kproxy check --live tries names, brokers and the way of clients. Only kproxy
serve can tell whether the ports are free, and whether another kproxy has locked
state_dir.
`

func check(ctx context.Context, file string, stdout, stderr io.Writer) error {
	s, err := checked(ctx, file, stderr)
	if err != nil {
		return err
	}
	if err := printChecked(stdout, s); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, notChecked)
	return err
}

// checked reads a configuration, and the files that it names. The error has all mistakes.
func checked(ctx context.Context, file string, stderr io.Writer) (*settings, error) {
	s, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	s.Log.Level = "warn" // of certificates that end soon
	logger, err := newFixedLogger(stderr, s.Log)
	if err != nil {
		return nil, err
	}
	p, err := prepare(ctx, s, logger)
	if err != nil {
		return nil, err
	}
	defer p.close(ctx)
	if missing := p.proxy.UncoveredNames(); len(missing) > 0 {
		return nil, s.mistakes(errors.Join(missing...))
	}
	return s, nil
}

// printChecked prints the addresses that a valid configuration would bind.
func printChecked(stdout io.Writer, s *settings) error {
	listeners := 0
	for _, c := range s.Proxy.Clusters {
		listeners += len(c.Listeners)
	}
	if _, err := fmt.Fprintf(stdout, "%s: ok: %s, %s\n", s.File, count(len(s.Proxy.Clusters), "cluster"), count(listeners, "listener")); err != nil {
		return err
	}
	return printPlan(stdout, s.plan.Endpoints())
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
