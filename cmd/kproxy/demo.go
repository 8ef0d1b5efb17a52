package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/netlab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

const (
	demoBrokers    = 3
	demoPartitions = 12
	demoTopic      = "demo"
	demoRecords    = 100_000          // of the self-check
	demoTimeout    = 50 * time.Second // for the self-check, so that --once ends within a minute
)

// demoNames are the advertised names of the demo's brokers: names of a VPC, as in the
// README's story, which resolve nowhere else.
var demoNames = [demoBrokers]string{
	"ip-172-31-18-160.us-west-2.compute.internal:9092",
	"ip-172-31-27-41.us-west-2.compute.internal:9092",
	"ip-172-31-35-7.us-west-2.compute.internal:9092",
}

func newDemoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See kproxy at work, in front of three fake brokers",
		Long: `demo starts a fake Kafka cluster whose three brokers advertise names that do not
resolve, puts kproxy in front of it with a listener for each of three networks,
and sends records through while partitions change their leaders. Everything stays
on loopback. After that it keeps running, and prints the address of its status page
and commands to try in another terminal; with --once it ends.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return runDemo(ctx, cmd.OutOrStdout(), demoRecords, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "exit after the self-check: 0 only if everything held")
	return cmd
}

// demo is a fake cluster, and a proxy in front of it.
type demo struct {
	out     io.Writer
	records int            // of the self-check
	vpc     netlab.Network // where the brokers are
	cluster *kfake.Cluster
	proxy   *proxy.Proxy
	ways    []demoListener
	admin   *demoAdmin
	dialled atomic.Int64 // connections that kproxy made to brokers
}

func runDemo(ctx context.Context, out io.Writer, records int, once bool) error {
	d := &demo{out: out, records: records}
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.stop()
	if err := d.printTables(ctx); err != nil {
		return err
	}
	if err := d.selfCheck(ctx); err != nil {
		return err
	}
	if once {
		return nil
	}
	d.printSuggestions()
	<-ctx.Done()
	return nil
}

// printSuggestions prints what to look at while the demo keeps running.
func (d *demo) printSuggestions() {
	fmt.Fprintf(d.out, `
kproxy keeps running; Ctrl-C ends it. Its status page is

  http://%[2]s/

In another terminal, try:

  kcat -L -b %[1]s
  kcat -C -b %[1]s -t %[3]s -c 5
  kproxy topology --admin %[2]s
  kproxy top --admin %[2]s

`, d.ways[1].conf.Advertise, d.admin.bind, demoTopic)
}

// start starts the brokers, and kproxy in front of them with its admin server.
func (d *demo) start(ctx context.Context) error {
	var rules []config.DialRule
	listen := func(string, string) (net.Listener, error) {
		name := demoNames[len(rules)]
		socket, err := d.vpc.Listen(ctx, "tcp", name)
		if err != nil {
			return nil, err
		}
		rules = append(rules, config.DialRule{Match: name, To: socket.Addr().String()})
		return netlab.Named(socket, name), nil
	}
	var err error
	d.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(demoBrokers),
		kfake.SeedTopics(demoPartitions, demoTopic),
		kfake.ListenFn(listen),
	)
	if err != nil {
		return fmt.Errorf("start the fake brokers: %w", err)
	}
	if err = d.startProxy(ctx, rules); err != nil {
		d.cluster.Close()
	}
	return err
}

func (d *demo) startProxy(ctx context.Context, rules []config.DialRule) error {
	var err error
	ports := &demoPorts{taken: map[int]bool{}}
	if d.ways, err = demoListeners(ports); err != nil {
		return err
	}
	if d.admin, err = newDemoAdmin(ports); err != nil {
		return err
	}
	cluster := config.Cluster{Name: "demo", Bootstrap: slices.Clone(demoNames[:]), Dial: rules}
	for _, w := range d.ways {
		cluster.Listeners = append(cluster.Listeners, w.conf)
	}
	d.proxy, err = proxy.New(&proxy.Config{
		Config: config.Config{Clusters: []config.Cluster{cluster}, DrainTimeout: 5 * time.Second},
		Logger: d.admin.log,
		Observer: &proxy.Observer{Dialed: func(_ string, _ int32, _ string, err error) {
			if err == nil {
				d.dialled.Add(1)
			}
		}},
	})
	if err != nil {
		return err
	}
	d.admin.ops.proxy = d.proxy
	if err = d.admin.start(ctx); err == nil {
		err = d.proxy.Start(ctx)
	}
	if err != nil {
		d.stopProxy()
	}
	return err
}

func (d *demo) stop() {
	d.stopProxy()
	d.cluster.Close()
}

func (d *demo) stopProxy() {
	d.proxy.Shutdown(context.Background()) // nothing to report: the demo's own clients have gone
	d.admin.ops.close(context.Background())
}

// printTables prints the brokers' advertised addresses, and those that kproxy's clients
// get.
func (d *demo) printTables(ctx context.Context) error {
	fmt.Fprintln(d.out, "The brokers advertise to all clients:")
	t := newTable(d.out, "NODE", "ADVERTISES")
	for node, name := range demoNames {
		t.line(strconv.Itoa(node), name)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(d.out, "\nkproxy advertises to the clients of each listener instead:")
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	return printTable(d.out, d.proxy.Table(ctx))
}

// selfCheck sends records through every listener while leaders move, and prints the
// result.
func (d *demo) selfCheck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	load := newDemoLoad(d, d.records)
	moved, err := load.run(ctx)
	bypassed := load.refused.Load() + int64(d.vpc.Accepted()) - d.dialled.Load()
	fmt.Fprintf(d.out, "\nleaders moved %d times\nrecords sent %d, records read %d\nconnections that bypassed kproxy %d\n",
		moved, load.sent.Load(), load.read.Load(), bypassed)
	switch {
	case err != nil:
		return err
	case load.sent.Load() != int64(d.records) || load.read.Load() != int64(d.records):
		return errors.New("not every record arrived")
	case bypassed != 0:
		return errors.New("a client heard an address that is not kproxy's")
	}
	return nil
}
