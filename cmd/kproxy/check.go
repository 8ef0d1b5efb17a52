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
	)
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Validate a configuration and show the addresses it would bind",
		Long: "Validate a configuration, with the environment variables that override it, and\n" +
			"show the addresses it would bind. check refuses every configuration that serve refuses, and reports all\n" +
			"mistakes at once, one a line: FILE:LINE:COLUMN: key: problem; fix.\n\n" +
			"The files and secrets that the configuration names are read. check alone also\n" +
			"refuses a certificate that is not for all names that clients are given. It opens\n" +
			"no socket, asks no broker, and changes nothing.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if schema {
				return printSchema(cmd.OutOrStdout())
			}
			return check(cmd.Context(), file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&schema, "print-schema", false, "print the JSON schema of the configuration file instead")
	return cmd
}

// notChecked ends the output about a valid configuration.
const notChecked = `Only kproxy serve can tell whether the ports are free, names resolve and brokers
answer, and whether another kproxy has locked state_dir.
`

func check(ctx context.Context, file string, stdout, stderr io.Writer) error {
	s, err := loadConfig(file)
	if err != nil {
		return err
	}
	s.Log.Level = "warn" // of certificates that end soon
	logger, err := newFixedLogger(stderr, s.Log)
	if err != nil {
		return err
	}
	p, err := prepare(ctx, s, logger)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	if missing := p.proxy.UncoveredNames(); len(missing) > 0 {
		return s.mistakes(errors.Join(missing...))
	}
	listeners := 0
	for _, c := range s.Proxy.Clusters {
		listeners += len(c.Listeners)
	}
	if _, err := fmt.Fprintf(stdout, "%s: ok: %s, %s\n", file, count(len(s.Proxy.Clusters), "cluster"), count(listeners, "listener")); err != nil {
		return err
	}
	if err := printPlan(stdout, s.plan.Endpoints()); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, notChecked)
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
