package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/connect"
	"kproxy/internal/foreign"
	"kproxy/proxy"
)

func newDoctorCommand() *cobra.Command {
	var f connectFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor HOST:PORT…",
		Short: "Say why clients on this machine cannot use a Kafka cluster",
		Long: `doctor asks a cluster who its brokers are, and then tries every address that they
advertise from here, step by step, as a client without kproxy would: name, connection,
TLS, Kafka, login, and whether it is the broker that it should be. It says what is wrong
with each address that fails, what mends it, and whether kproxy connect reaches it.

It writes nothing, neither here nor to the cluster. It ends with 0 if a client here can
use every broker, and with 1 if not.`,
		Example: `  kproxy doctor ec2-54-191-84-122.us-west-2.compute.amazonaws.com:9092
  kproxy doctor --config-from client.properties
  kproxy doctor b0.example.com:9093 --tls --ca ca.pem --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), args, cmd.ErrOrStderr(), func(ctx context.Context, o *connect.Options) error {
				return examine(ctx, o, asJSON, cmd.OutOrStdout())
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.addCluster(cmd)
	flags.BoolVar(&asJSON, "json", false, "print JSON instead of a table")
	return cmd
}

// examine is the command.
func examine(ctx context.Context, o *connect.Options, asJSON bool, stdout io.Writer) error {
	e, err := o.Examine(ctx)
	if err != nil {
		return &usageError{asFlags(err)}
	}
	if ctx.Err() != nil {
		return errors.New("stopped before every address was tried")
	}
	if asJSON {
		err = printExaminationJSON(stdout, e)
	} else {
		err = printExamination(stdout, e, o.Addresses)
	}
	if err != nil {
		return err
	}
	return verdict(e)
}

// verdict is the last line, as an error if not all is well.
func verdict(e *connect.Examination) error {
	failed := len(e.Failed())
	switch {
	case e.Cluster == nil:
		return errors.New("no address has told who the brokers are")
	case e.Cluster.NeedsLogin:
		return errors.New("the brokers' addresses have not been tried: add --sasl, or --config-from with a client's configuration")
	case failed > 0:
		return fmt.Errorf("%d of %d addresses fail from here", failed, len(e.Findings))
	}
	return nil
}

// printExamination writes a line for each address, and then what mends those that failed.
func printExamination(w io.Writer, e *connect.Examination, addresses []string) error {
	columns := []string{"WHO", "ADDRESS"}
	for s := range connect.Arrived {
		columns = append(columns, strings.ToUpper(s.String()))
	}
	t := newTable(w, append(columns, "TOOK")...)
	for i := range e.Findings {
		f := &e.Findings[i]
		cells := []string{who(f), f.Address}
		for s := range connect.Arrived {
			cells = append(cells, outcomeOf(f, s))
		}
		t.line(append(cells, f.Took.Round(time.Millisecond).String())...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	return printRemedies(w, e, addresses)
}

func who(f *connect.Finding) string {
	if f.Node == proxy.NoNode {
		return "bootstrap"
	}
	return "node " + strconv.Itoa(int(f.Node))
}

// outcomeOf is what a step came to: ok, FAILED, - for one that this way does not have, and
// nothing for one behind a failure.
func outcomeOf(f *connect.Finding, s connect.Step) string {
	switch {
	case s == f.Failed():
		return "FAILED"
	case s > f.Failed():
		return ""
	case !f.Takes(s):
		return "-"
	default:
		return "ok"
	}
}

// printRemedies writes what is wrong, address by address, and each fix once.
func printRemedies(w io.Writer, e *connect.Examination, addresses []string) error {
	var b strings.Builder
	var fixes []string
	wrong := map[string][]string{} // by fix
	var reached, lost []string     // by kproxy connect
	for _, f := range e.Failed() {
		if wrong[f.Fix] == nil {
			fixes = append(fixes, f.Fix)
		}
		wrong[f.Fix] = append(wrong[f.Fix], fmt.Sprintf("%s, %s: %s", who(f), foreign.Line(f.Address), foreign.LineOf(f.Reason(), maxErrorLine)))
		switch {
		case f.Node == proxy.NoNode:
		case e.Reached(f.Node) != "":
			reached = append(reached, fmt.Sprintf("%s at %s", who(f), foreign.Line(e.Reached(f.Node))))
		default:
			lost = append(lost, who(f))
		}
	}
	for _, fix := range fixes {
		fmt.Fprintf(&b, "\n%s\n  fix: %s\n", strings.Join(wrong[fix], "\n"), foreign.LineOf(fix, maxErrorLine))
	}
	if len(reached) > 0 {
		fmt.Fprintf(&b, "\nkproxy connect, told the same, reaches from here %s.\n", strings.Join(reached, ", "))
		if len(lost) > 0 {
			fmt.Fprintf(&b, "  not %s: tell it where from here, by HOST:PORT or --node ID=HOST:PORT\n", strings.Join(lost, ", "))
		}
	}
	switch c := e.Cluster; {
	case c == nil:
	case c.NeedsLogin:
		fmt.Fprintf(&b, "\nThe cluster tells who its brokers are to clients that have logged in%s.\n", by(c.Mechanisms))
	case e.Sound():
		fmt.Fprintf(&b, "\nEvery address works from here: a client of %s can use all %d brokers.\n", strings.Join(addresses, ","), len(c.Brokers))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// examinationJSON and findingJSON are what --json prints.
type examinationJSON struct {
	Sound      bool          `json:"sound"`
	ClusterID  string        `json:"cluster_id,omitempty"`
	NeedsLogin bool          `json:"needs_login,omitempty"`
	Addresses  []findingJSON `json:"addresses"`
}

// maxAddress is the most characters of an address in JSON: a DNS name has 253 at
// most, and a port with its colon 6.
const maxAddress = 259

type findingJSON struct {
	Node    *int32            `json:"node"` // null: for bootstrap
	Address string            `json:"address"`
	Steps   map[string]string `json:"steps"`
	TookMS  float64           `json:"took_ms"`
	Error   string            `json:"error,omitempty"`
	Fix     string            `json:"fix,omitempty"`
	Connect string            `json:"connect,omitempty"` // where kproxy connect reaches it
}

func printExaminationJSON(w io.Writer, e *connect.Examination) error {
	out := examinationJSON{Sound: e.Sound(), Addresses: []findingJSON{}}
	if e.Cluster != nil {
		out.ClusterID, out.NeedsLogin = foreign.Line(e.Cluster.ID), e.Cluster.NeedsLogin
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		one := findingJSON{Address: foreign.LineOf(f.Address, maxAddress), Steps: map[string]string{}, TookMS: float64(f.Took.Microseconds()) / 1000, Fix: foreign.LineOf(f.Fix, maxErrorLine)}
		if f.Node != proxy.NoNode {
			one.Node, one.Connect = &f.Node, foreign.LineOf(e.Reached(f.Node), maxAddress)
		}
		if f.Err != nil {
			one.Error = foreign.LineOf(f.Err.Error(), maxErrorLine)
		}
		for s := range connect.Arrived {
			if outcome := strings.ToLower(outcomeOf(f, s)); outcome != "" && outcome != "-" {
				one.Steps[s.String()] = outcome
			}
		}
		out.Addresses = append(out.Addresses, one)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
