//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kproxy/e2e/lab"
)

// realOptions are the flags of `bench real`: the targets in front of a real Kafka broker, under
// the load of Kafka's own performance tools.
type realOptions struct {
	targets    []string
	rounds     int
	megabytes  int // of records in a turn
	share      float64
	tls        bool // to the clients
	clientName string
	kproxy     string
	jsonFile   string
	picture    string // file for an SVG
	from       string // file of an earlier run, which is printed; nothing is measured then
}

func newReal() *cobra.Command {
	var o realOptions
	cmd := &cobra.Command{
		Use:   "real",
		Short: "Measure the targets in front of a real Kafka broker, with Kafka's own performance tools",
		Long: `Starts one Kafka broker with a listener for each target, and the targets in front of it. In each round each
target carries each load once, by kafka-producer-perf-test and kafka-consumer-perf-test with their defaults.
Then each carries the producers' loads at one pinned rate, from which the latency is. Needs Java 17 and mvn.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.rounds < 1 || o.megabytes < 1 || o.share <= 0 || o.share >= 1 {
				return errors.New("--rounds and --megabytes must be at least 1, --rate-share above 0 and below 1")
			}
			if o.clientName != javaClient && o.clientName != kcatClient {
				return fmt.Errorf("--client: there is no %q; there are %s, %s", o.clientName, javaClient, kcatClient)
			}
			if o.from != "" {
				r, err := readRealReport(o.from)
				if err != nil {
					return err
				}
				return o.write(r, cmd.OutOrStdout())
			}
			if o.picture != "" && (o.tls || o.clientName != javaClient) {
				return errors.New("--picture: it is of a run with Java's clients and without --tls")
			}
			if err := errors.Join(writable(o.jsonFile), writable(o.picture)); err != nil {
				return err
			}
			return runReal(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.targets, "targets", []string{directName, kproxyName, haproxyName, "nginx-64k", "iocopy"}, "targets by name")
	f.IntVar(&o.rounds, "rounds", 5, "turns of each target")
	f.IntVar(&o.megabytes, "megabytes", 400, "records of a turn, in MB")
	f.Float64Var(&o.share, "rate-share", 0.5, "the pinned rate, as a part of the slowest target's maximum")
	f.BoolVar(&o.tls, "tls", false, "TLS between clients and targets; where there is no target, between clients and broker")
	f.StringVar(&o.clientName, "client", javaClient, "java: Kafka's performance tools; kcat: librdkafka, at the maximum alone, its start included")
	f.StringVar(&o.kproxy, "kproxy", "", "a kproxy binary to measure; default: built from this module")
	f.StringVar(&o.jsonFile, "json", "", "file for the figures")
	f.StringVar(&o.picture, "picture", "", "file for a picture of them, an SVG")
	f.StringVar(&o.from, "from", "", "file of an earlier run: print it, and measure nothing")
	return cmd
}

// realRun is one run of `bench real`.
type realRun struct {
	realOptions
	env      *env
	progress *progress
	tools    *perfTools // that fill the topics
	client   realClient
	kafka    *lab.Cluster
	runs     []*running // by target, in their order
	report   *realReport
}

func runReal(ctx context.Context, o realOptions, stdout, stderr io.Writer) (err error) {
	shop, err := openWorkshop("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.registry.close()) }()
	r := &realRun{
		realOptions: o, progress: newProgress(stderr), report: newRealReport(o),
		env: &env{workshop: shop, threads: runtime.NumCPU(), kproxy: o.kproxy, files: fileLimit()},
	}
	defer r.stop()
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.progress.end()
	return o.write(r.report, stdout)
}

// write writes the report to the files of the flags, and to stdout.
func (o realOptions) write(r *realReport, stdout io.Writer) error {
	if o.picture != "" {
		var svg strings.Builder
		if err := r.picture(&svg); err != nil {
			return err
		}
		if err := os.WriteFile(o.picture, []byte(svg.String()), 0o644); err != nil {
			return err
		}
	}
	return r.write(o.jsonFile, stdout)
}

func (r *realRun) stop() {
	for _, run := range r.runs {
		run.stop()
	}
	if r.kafka != nil {
		r.kafka.Close()
	}
}

// start starts the broker with a listener for each target, which advertises the target's address,
// then the targets, and fills the consumers' topics.
func (r *realRun) start(ctx context.Context) error {
	var chosen []target
	for _, name := range r.targets {
		t, ok := targetNamed(name)
		if !ok {
			return fmt.Errorf("--targets: there is no %q; there are %s", name, strings.Join(targetNames(), ", "))
		}
		r.progress.say("looking for %s", name)
		version, err := t.find(ctx, r.env)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.report.Targets = append(r.report.Targets, realTarget{Name: name, Version: version})
		chosen = append(chosen, t)
	}
	p, err := newPlace(loopback)
	if err != nil {
		return err
	}
	ports, routes := lab.NewPorts(), make([]route, len(chosen))
	broker, err := ports.Block(ctx, p.brokerHost) // its two own listeners, and one for each target
	if err != nil {
		return err
	}
	if len(chosen) > lab.PortBlock-2 {
		return fmt.Errorf("--targets: %d at most", lab.PortBlock-2)
	}
	if r.tls {
		if r.env.keys, err = makeKeys(r.env.workshop); err != nil {
			return err
		}
	}
	var listeners []lab.ClientListener
	for i, t := range chosen {
		port, err := ports.Block(ctx, p.proxyHost)
		if err != nil {
			return err
		}
		routes[i] = route{place: p, port: port, upstream: []string{lab.HostPort(p.brokerHost, broker+2+i)}}
		routes[i].direct = routes[i].upstream
		protocol := "PLAINTEXT"
		if r.tls {
			routes[i].tls = tlsDown
			if t.name == directName {
				protocol = "SSL"
			}
		}
		advertised := routes[i].upstream[0]
		if t.blind {
			advertised = routes[i].listen(0)
		}
		listeners = append(listeners, lab.ClientListener{
			Name: fmt.Sprintf("TARGET%d", i), Protocol: protocol,
			Bind: func(int) string { return routes[i].upstream[0] }, Advertise: func(int) string { return advertised },
		})
	}
	if err := r.startKafka(ctx, broker, listeners); err != nil {
		return err
	}
	for i, t := range chosen {
		run, err := t.run(ctx, r.env, routes[i])
		if err != nil {
			return err
		}
		r.runs = append(r.runs, run)
		r.report.Targets[i].Config = run.config
	}
	return r.fill(ctx)
}

func (r *realRun) startKafka(ctx context.Context, port int, listeners []lab.ClientListener) error {
	r.progress.say("Kafka %s starts", lab.Newest)
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.env.dir, "kafka")
	java, err := lab.NewJava(dir)
	if err != nil {
		return err
	}
	java = java.Optimised()
	if r.tools, err = newPerfTools(ctx, java, r.env.keys); err != nil {
		return err
	}
	properties := map[string]string{"log.retention.check.interval.ms": "2000", "num.network.threads": "3", "num.io.threads": "8"}
	if keys := r.env.keys; keys != nil {
		store, err := keys.keystore(dir)
		if err != nil {
			return err
		}
		maps.Copy(properties, map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.location": store, "ssl.cipher.suites": tlsSuiteName, "ssl.enabled.protocols": "TLSv1.3"})
	}
	on := func(i int) func(int) string {
		return func(int) string { return lab.HostPort("127.0.0.1", port+i) }
	}
	r.kafka, err = lab.StartCluster(ctx, lab.ClusterConfig{
		Release: release, Java: java, Size: 1, Dir: dir, Internal: on(0), Controller: on(1), Clients: listeners,
		Properties: func(int) map[string]string { return properties },
	})
	if err != nil {
		return fmt.Errorf("start Kafka: %w\n%s", err, r.kafka.Complaints())
	}
	r.client, r.report.Upstream = r.tools, "one broker of Kafka "+lab.Newest+", clients of "+r.tools.version
	if r.clientName == kcatClient {
		k, err := newKcat(ctx, dir, kcatTLS(r.env.keys))
		if err != nil {
			return err
		}
		r.client, r.report.Upstream = k, "one broker of Kafka "+lab.Newest+", "+k.version
	}
	if r.tls {
		r.report.Upstream += ", TLS 1.3 to the clients"
	}
	return nil
}

// realPartitions is how many a topic has.
const realPartitions = 6

func (r *realRun) fill(ctx context.Context) error {
	text := func(s string) *string { return &s }
	for _, l := range realLoads() {
		configs := map[string]*string{"segment.bytes": text("33554432")}
		if l.produce {
			configs["retention.bytes"], configs["file.delete.delay.ms"] = text("33554432"), text("1000")
		}
		if err := r.kafka.NewTopic(ctx, realPartitions, configs, l.topic()); err != nil {
			return err
		}
		if l.produce {
			continue
		}
		r.progress.say("%s is filled", l.topic())
		if _, err := r.tools.produce(ctx, perfAddress{r.kafka.Seeds()[0], false}, l, r.megabytes, -1); err != nil {
			return err
		}
	}
	return nil
}

// measure gives each target its turns: all loads at the maximum, then the producers' at the
// pinned rate.
func (r *realRun) measure(ctx context.Context) error {
	pinned := slices.DeleteFunc(realLoads(), func(l realLoad) bool { return !l.produce || r.clientName == kcatClient })
	turns := (1 + r.rounds) * (len(realLoads()) + len(pinned)) * len(r.runs)
	r.progress.start(turns, time.Duration(turns)*8*time.Second)
	for _, l := range realLoads() {
		if err := r.carry(ctx, l, -1); err != nil {
			return err
		}
	}
	for _, l := range pinned {
		slowest := math.Inf(1)
		for _, t := range r.report.Targets {
			slowest = min(slowest, r.report.series(t.Name, l.name, "mb_per_s").median())
		}
		rate := int(slowest * 1e6 / float64(l.size) * r.share)
		if err := r.carry(ctx, l, max(rate, 1)); err != nil {
			return err
		}
	}
	return nil
}

// carry runs one load in all rounds. The first round of all warms up broker and targets, and is
// not kept.
func (r *realRun) carry(ctx context.Context, l realLoad, rate int) error {
	for round := -1; round < r.rounds; round++ {
		for _, i := range order(l.name, float64(rate), round+1, len(r.runs)) {
			name := r.report.Targets[i].Name
			r.progress.say("%s %s", l.name, name)
			f, err := r.turn(ctx, r.runs[i], l, rate)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.name, name, err)
			}
			if round >= 0 {
				r.report.add(name, l.name, f)
			}
			r.progress.step()
		}
	}
	return nil
}

// turn runs a tool once, and returns its figures, with the CPU that target, broker and client have
// used meanwhile. A figure at a pinned rate has pinned in front of its name.
func (r *realRun) turn(ctx context.Context, run *running, l realLoad, rate int) (figures, error) {
	megabytes := r.megabytes
	if rate > 0 { // of the same length as a turn at the maximum of the slowest
		megabytes = max(1, int(float64(megabytes)*r.share))
	}
	before, err := r.cpu(run)
	if err != nil {
		return nil, err
	}
	tool := r.client.consume
	if l.produce {
		tool = func(ctx context.Context, address perfAddress, l realLoad, megabytes int) (perfResult, error) {
			return r.client.produce(ctx, address, l, megabytes, rate)
		}
	}
	got, err := tool(ctx, perfAddress{run.addresses[0], r.tls}, l, megabytes)
	if err != nil {
		return nil, err
	}
	after, err := r.cpu(run)
	if err != nil {
		return nil, err
	}
	gb := float64(got.bytes) / 1e9
	f := figures{"mb_per_s": float64(got.bytes) / 1e6 / got.took.Seconds(), "client_cpu_s_per_gb": got.cpu.Seconds() / gb}
	for i, name := range []string{"cpu_s_per_gb", "broker_cpu_s_per_gb"} {
		f[name] = (after[i] - before[i]).Seconds() / gb
	}
	for percent, d := range got.latency {
		f["p"+percent+"_ms"] = float64(d.Milliseconds())
	}
	if rate < 0 {
		return f, nil
	}
	atRate := figures{}
	for name, v := range f {
		atRate[pinned+name] = v
	}
	return atRate, nil
}

// cpu is the CPU time of the target and of the broker so far.
func (r *realRun) cpu(run *running) (used [2]time.Duration, err error) {
	all, err := allProcesses()
	if err != nil {
		return used, err
	}
	for i, pids := range [2][]int{run.pids, {r.kafka.Brokers[0].PID()}} {
		for _, p := range tree(all, pids...) {
			used[i] += p.cpu
		}
	}
	return used, nil
}
