package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kproxy/internal/connect"
	"kproxy/internal/doctor"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
)

func newDoctorCommand() *cobra.Command {
	var f connectFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor HOST:PORT…",
		Short: "Say why clients on this machine cannot use a Kafka cluster",
		Long: `doctor asks a cluster who its brokers are, and then tries every address that they
advertise from here, step by step, as a client without kproxy would: name, connection,
TLS, Kafka, login, and whether it is the broker that it should be. It names the cause
of each failure, and a fix: lines for the broker's configuration, a
command or a flag, and whether kproxy connect reaches the broker.

It writes nothing, neither here nor to the cluster. It ends with 0 if a client here can
use every broker, or with --via one that goes through kproxy connect, and with 1 if not.`,
		Example: `  kproxy doctor ec2-54-191-84-122.us-west-2.compute.amazonaws.com:9092
  kproxy doctor --config-from client.properties
  kproxy doctor b0.example.com:9093 --tls --ca ca.pem --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args, cmd.ErrOrStderr(), func(ctx context.Context, o *connect.Options) error {
				u := doctor.User{Addresses: o.Addresses, TLS: o.TLS, SASL: o.SASL, Args: argsOf(ctx, cmd.Flags(), args)}
				if f.configFrom != "" {
					connect.LookAtFile(ctx, f.configFrom, &u)
				}
				return examine(ctx, o, u, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.addCluster(cmd)
	flags.BoolVar(&asJSON, "json", false, "print JSON instead of a table")
	return cmd
}

// argsOf are the arguments and flags that were given, for command lines that doctor suggests.
func argsOf(ctx context.Context, flags *pflag.FlagSet, args []string) []string {
	all := append([]string{}, args...)
	flags.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case f.Name == "json":
			return
		case f.Value.Type() == "bool" && value == "true":
			all = append(all, "--"+f.Name)
			return
		case f.Value.Type() == "bool":
			all = append(all, "--"+f.Name+"="+value)
			return
		case f.Name == "via":
			value = withoutPassword(value)
		case strings.HasSuffix(f.Name, "-file"), slices.Contains([]string{"config-from", "ca", "cert", "key"}, f.Name):
			if files.IsPipe(ctx, value) { // it is already read
				value = "FILE"
			}
		}
		all = append(all, "--"+f.Name, value)
	})
	return all
}

// withoutPassword is a URL without the password in it.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	u.User = url.User(u.User.Username())
	return u.String()
}

// examine is the command.
func examine(ctx context.Context, o *connect.Options, u doctor.User, asJSON bool, stdout, stderr io.Writer) error {
	progress := newProgress(stderr)
	o.Say = progress.say
	r, err := o.Examine(ctx, u, progress.set)
	progress.end()
	if bad, ok := errors.AsType[*connect.OptionsError](err); ok {
		err = bad.Err
	}
	if err != nil {
		return &usageError{asFlags(err)}
	}
	if ctx.Err() != nil {
		return errors.New("stopped before every address was tried")
	}
	if asJSON {
		err = r.JSON(stdout)
	} else {
		err = r.Print(stdout, styleOf(stdout))
	}
	if err != nil {
		return err
	}
	return verdict(r)
}

// verdict is the last line, as an error if not all is well.
func verdict(r *doctor.Report) error {
	failed := len(r.Failed())
	switch {
	case !r.Heard:
		return errors.New("no address responded as a Kafka broker, so the brokers' own addresses are not known")
	case r.NeedsLogin && r.User.File != "":
		return fmt.Errorf("the brokers' addresses have not been tried: add a login to %s", foreign.Line(r.User.File))
	case r.NeedsLogin:
		return errors.New("the brokers' addresses have not been tried: add --sasl, or --config-from with a client's configuration")
	case failed > 0:
		return fmt.Errorf("%d of %d addresses fail from %s", failed, len(r.Findings), from(r))
	case r.Untried > 0:
		return fmt.Errorf("%d of %d brokers were not tried", r.Untried, r.Brokers)
	}
	return nil
}

func from(r *doctor.Report) string {
	if r.User.Via != "" {
		return r.User.Via
	}
	return "here"
}
