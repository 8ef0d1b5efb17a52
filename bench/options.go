//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// options are the flags.
type options struct {
	targets, workloads []string
	userTargets        []string
	brokers            []string
	brokerListen       string
	quick, list        bool
	rounds, threads    int
	duration, warmup   time.Duration
	idle               time.Duration
	share              float64
	kproxy             string
	jsonFile, htmlFile string
	dir                string
}

func (o *options) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.targets, "targets", nil, "targets by name; all of them if none is named")
	f.StringSliceVar(&o.workloads, "workloads", nil, "workloads by name or glob, such as 'fetch-*'; all of them if none is given")
	f.StringArrayVar(&o.userTargets, "target", nil, "a proxy that is running: name=host:port,pid=N[,pid=N…]; it leads to --broker-listen or --brokers (repeatable)")
	f.StringSliceVar(&o.brokers, "brokers", nil, "a real cluster as the upstream, host:port; default: a fake broker")
	f.StringVar(&o.brokerListen, "broker-listen", "", "where the fake broker listens, for --target; default: a free port")
	f.BoolVar(&o.quick, "quick", false, "a few workloads, within two minutes, and the page, bench.html unless --html names another file")
	f.BoolVar(&o.list, "list", false, "say which targets and workloads there are, and how long they would take")
	f.IntVar(&o.rounds, "rounds", 5, "turns of each target")
	f.IntVar(&o.threads, "threads", runtime.NumCPU(), "threads of each target")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "length of one measurement")
	f.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "time before each measurement")
	f.DurationVar(&o.idle, "idle", 25*time.Second, "time that idle connections have been so, before their memory is read")
	f.Float64Var(&o.share, "rate-share", 0.5, "the pinned rate, as a part of the slowest target's maximum")
	f.StringVar(&o.kproxy, "kproxy", "", "a kproxy binary to measure; default: built from this module")
	f.StringVar(&o.jsonFile, "json", "", "file for the rows")
	f.StringVar(&o.htmlFile, "html", "", "file for the page")
	f.StringVar(&o.dir, "dir", "", "directory for logs and configurations, which is kept; default: a temporary one")
}

// plan is the work of a run: the options, checked and expanded.
type plan struct {
	options
	chosen []string     // names of targets, in the order of the report
	users  []userTarget // the user's own
	work   []workload
	absent []string // workloads that were left out, and why
}

// userTarget is a proxy that the user has started.
type userTarget struct {
	name, address string
	pids          []int
}

// quickBudget is the measuring time of a quick run. The run ends within two minutes, and
// building kproxy and starting targets takes a part of them.
const quickBudget = 85 * time.Second

func (o options) plan(root bool) (*plan, error) {
	p := &plan{options: o}
	for _, spec := range o.userTargets {
		u, err := parseTarget(spec)
		if err != nil {
			return nil, fmt.Errorf("--target %s: %w", spec, err)
		}
		if slices.ContainsFunc(p.users, func(other userTarget) bool { return other.name == u.name }) {
			return nil, fmt.Errorf("--target %s: another one has that name; give each its own", spec)
		}
		p.users = append(p.users, u)
	}
	if err := errors.Join(o.validate(), p.choose(), p.pick(root)); err != nil {
		return nil, err
	}
	if o.quick {
		p.htmlFile = cmp.Or(p.htmlFile, "bench.html")
		p.shorten(len(p.chosen), quickBudget)
	}
	return p, nil
}

func (o options) validate() error {
	var errs []error
	for name, bad := range map[string]bool{
		"--rounds must be 1 or more":                o.rounds < 1,
		"--threads must be 1 or more":               o.threads < 1,
		"--duration must be 100ms or more":          o.duration < 100*time.Millisecond,
		"--warmup must not be negative":             o.warmup < 0,
		"--idle must not be negative":               o.idle < 0,
		"--rate-share must be above 0 and below 1":  o.share <= 0 || o.share >= 1,
		"--broker-listen has no use with --brokers": o.brokerListen != "" && len(o.brokers) > 0,
		"--target needs --broker-listen or --brokers: the proxy must know where to go": len(o.userTargets) > 0 &&
			o.brokerListen == "" && len(o.brokers) == 0,
	} {
		if bad {
			errs = append(errs, errors.New(name))
		}
	}
	for _, address := range append(slices.Clone(o.brokers), o.brokerListen) {
		if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
			errs = append(errs, fmt.Errorf("%q is no host:port", address))
		}
	}
	return errors.Join(errs...)
}

// parseTarget reads name=host:port,pid=N[,pid=N…].
func parseTarget(spec string) (userTarget, error) {
	const want = "want name=host:port,pid=N[,pid=N…]"
	name, rest, ok := strings.Cut(spec, "=")
	if !ok || name == "" || slices.Contains(targetNames(), name) {
		return userTarget{}, errors.New(want + ", with a name that is not one of the suite's own")
	}
	parts := strings.Split(rest, ",")
	u := userTarget{name: name, address: parts[0]}
	if _, _, err := net.SplitHostPort(u.address); err != nil {
		return userTarget{}, fmt.Errorf("%w; %s", err, want)
	}
	for _, part := range parts[1:] {
		text, ok := strings.CutPrefix(part, "pid=")
		pid, err := strconv.Atoi(text)
		if !ok || err != nil || pid < 1 {
			return userTarget{}, fmt.Errorf("%q is no pid=N; %s", part, want)
		}
		u.pids = append(u.pids, pid)
	}
	if len(u.pids) == 0 {
		return userTarget{}, errors.New("its CPU cannot be seen without a pid; " + want)
	}
	return u, nil
}

// choose fills chosen. direct is always there: the others are compared with it.
func (p *plan) choose() error {
	all := targetNames()
	for _, u := range p.users {
		all = append(all, u.name)
	}
	for _, name := range p.targets {
		if !slices.Contains(all, name) {
			return fmt.Errorf("--targets: no target %q; there are %s", name, strings.Join(all, ", "))
		}
	}
	for _, name := range all {
		if len(p.targets) == 0 || name == "direct" || slices.Contains(p.targets, name) {
			p.chosen = append(p.chosen, name)
		}
	}
	return nil
}

// pick fills work and absent.
func (p *plan) pick(root bool) error {
	patterns := p.workloads
	if len(patterns) == 0 && p.quick {
		patterns = quickWorkloads
	}
	used := make(map[string]bool)
	for _, w := range workloads() {
		if len(patterns) > 0 && !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, w.Name)
			used[pattern] = used[pattern] || ok && err == nil
			return ok && err == nil
		}) {
			continue
		}
		switch {
		case w.Net != loopback && !root:
			p.absent = append(p.absent, w.Name+": network namespaces need root")
		case w.Net != loopback && len(p.brokers) > 0:
			p.absent = append(p.absent, w.Name+": a real cluster is not in a namespace of ours")
		case len(p.brokers) > 0 && !w.real():
			p.absent = append(p.absent, w.Name+": only the fake broker can serve it")
		default:
			p.work = append(p.work, w)
		}
	}
	for _, pattern := range patterns {
		if !used[pattern] {
			return fmt.Errorf("--workloads: nothing is called %q; see --list", pattern)
		}
	}
	return nil
}

// shorten gives each measurement as much time as a quick run of so many targets
// has left for it.
func (p *plan) shorten(targets int, left time.Duration) {
	p.rounds = 2
	p.warmup = 150 * time.Millisecond
	const between = 200 * time.Millisecond // a load's start and end
	turns := 0
	for _, w := range p.work {
		turns += w.loads() * p.rounds * targets
	}
	each := left/time.Duration(max(1, turns)) - p.warmup - between
	p.duration = min(2*time.Second, max(200*time.Millisecond, each.Round(10*time.Millisecond)))
}

// warmupOf is the time before a workload's measurements.
func (p *plan) warmupOf(w workload) time.Duration {
	if w.Kind == idle {
		return p.idle
	}
	return p.warmup
}

// estimate is about how long the run takes.
func (p *plan) estimate() time.Duration {
	var sum time.Duration
	warm := make(map[network]bool)
	for _, w := range p.work {
		turn := p.duration + w.warmup(p.warmupOf(w)) + 250*time.Millisecond
		takePart := len(p.chosen)
		for _, t := range targets() {
			if w.hasTLS() && t.noTLS != "" && slices.Contains(p.chosen, t.name) {
				takePart--
			}
		}
		sum += time.Duration(w.loads()*p.rounds*takePart)*turn + time.Second
		switch {
		case !slices.Contains(p.chosen, kroxyliciousName) || p.quick || w.hasTLS():
		case w.fresh():
			warm[w.Net] = false
		case warm[w.Net]:
			sum += warmAgain
		default:
			sum, warm[w.Net] = sum+kroxyliciousWarmup, true
		}
	}
	return sum.Round(time.Second)
}

func (p *plan) list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TARGET\t")
	for _, name := range p.chosen {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, about(name))
	}
	_, _ = fmt.Fprintln(w, "\t\nWORKLOAD\t")
	for _, work := range p.work {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", work.Name, work.Describe())
	}
	for _, line := range p.absent {
		_, _ = fmt.Fprintf(w, "left out\t%s\n", line)
	}
	_, _ = fmt.Fprintf(w, "\t\nabout %v\t%d rounds of %v\n", p.estimate(), p.rounds, p.duration)
	return w.Flush()
}
