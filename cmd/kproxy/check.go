package main

import (
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
		Short: "Validate a configuration and show what it would bind",
		Long: "Validate a configuration, with the environment variables that override it, and show what it would bind.\n" +
			"Every mistake is one line that names the file, the key and the fix. Certificates and keys are read, and have to be\n" +
			"for all names that clients are told. No socket is opened and no broker asked.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if schema {
				return printSchema(cmd.OutOrStdout())
			}
			return check(file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&schema, "print-schema", false, "print the JSON schema of the configuration file instead")
	return cmd
}

func check(file string, stdout, stderr io.Writer) error {
	s, err := loadConfig(file)
	if err != nil {
		return err
	}
	s.Log.Level = "warn" // of certificates that end soon
	if s.Proxy.Logger, err = newLogger(stderr, s.Log); err != nil {
		return err
	}
	p, err := newProxy(s)
	if err != nil {
		return err
	}
	if _, err := s.Admin.Load(s.Proxy.Logger); err != nil {
		return mistakes(s.File, err)
	}
	if missing := p.Uncovered(); len(missing) > 0 {
		return mistakes(s.File, errors.Join(missing...))
	}
	listeners := 0
	for _, c := range s.Proxy.Clusters {
		listeners += len(c.Listeners)
	}
	if _, err := fmt.Fprintf(stdout, "%s: ok: %s, %s\n", file, count(len(s.Proxy.Clusters), "cluster"), count(listeners, "listener")); err != nil {
		return err
	}
	return printPlan(stdout, s.Proxy.Plan())
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
