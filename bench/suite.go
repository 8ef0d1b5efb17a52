//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// suite is one run.
type suite struct {
	*plan
	env      *env
	ports    *lab.Ports
	targets  []target // that are installed
	cluster  *cluster // nil: the fake broker
	report   *report
	progress *progress
	rates    map[string]float64 // the pinned rates, by workload
}

// errUnmeasured says that not every target that is installed could be measured.
var errUnmeasured = errors.New("see the notes: something could not be measured")

func runSuite(ctx context.Context, p *plan, stdout, stderr io.Writer) (err error) {
	dir := p.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", dirPrefix); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // MkdirTemp's is for us alone
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	shop, err := newWorkshop(dir)
	if err != nil {
		if p.dir == "" {
			_ = os.RemoveAll(dir) // there is no janitor yet
		}
		return err
	}
	defer func() { err = errors.Join(err, shop.registry.close()) }()
	if p.dir == "" {
		if err := shop.registry.owe(leftDir, dir); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &suite{
		plan: p, ports: lab.NewPorts(), progress: newProgress(stderr),
		env:    &env{workshop: shop, threads: p.threads, kproxy: p.kproxy, files: fileLimit()},
		report: newReport(p), rates: make(map[string]float64),
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.cluster.close()
	runErr := s.runAll(ctx)
	s.report.Complete = runErr == nil || errors.Is(runErr, errUnmeasured)
	s.progress.end()
	s.report.finish()
	return errors.Join(runErr, s.report.write(p, stdout))
}

func fileLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return limit.Cur
}

// prepare finds the targets, and connects to a real cluster.
func (s *suite) prepare(ctx context.Context) (err error) {
	all := targets()
	for _, u := range s.users {
		all = append(all, u.target())
	}
	for _, name := range s.chosen {
		for _, t := range all {
			if t.name != name {
				continue
			}
			s.progress.say("looking for %s", name)
			version, err := s.find(ctx, t)
			s.report.found(t, version, err)
			if err == nil {
				s.targets = append(s.targets, t)
			}
		}
	}
	if len(s.brokers) > 0 {
		if s.cluster, err = openCluster(ctx, s.brokers); err != nil {
			return err
		}
		s.report.Upstream = s.cluster.about
	}
	if s.quick {
		const most = 105 * time.Second // of two minutes; each start of a target takes a moment too
		starts := time.Duration(len(s.targets)*len(s.work)) * 150 * time.Millisecond
		s.shorten(len(s.targets), min(quickBudget, most-starts-time.Since(s.report.Began)))
		s.report.Duration = s.duration.String()
	}
	turns := 0
	for _, w := range s.work {
		turns += w.loads() * s.plan.rounds * len(s.targets)
	}
	s.progress.start(turns, s.estimate())
	return ctx.Err()
}

// find says which version is installed. A quick run has no time for a target that
// warms up, unless it was named.
func (s *suite) find(ctx context.Context, t target) (string, error) {
	if t.warmup > 0 && s.quick && len(s.options.targets) == 0 {
		return "", fmt.Errorf("left out of a quick run: it needs %v to warm up, for each workload", t.warmup)
	}
	return t.find(ctx, s.env)
}

// runAll goes through the workloads, one network after the other.
func (s *suite) runAll(ctx context.Context) error {
	for _, n := range []network{loopback, veth, vethBare} {
		var works []workload
		for _, w := range s.work {
			if w.Net == n {
				works = append(works, w)
			}
		}
		if len(works) == 0 {
			continue
		}
		if err := s.runPlace(ctx, n, works); err != nil {
			return err
		}
	}
	if s.report.failed() {
		return errUnmeasured
	}
	return nil
}

func (s *suite) runPlace(ctx context.Context, n network, works []workload) error {
	if n != loopback {
		for _, name := range namespaceNames {
			if err := s.env.registry.owe(leftNamespace, name); err != nil {
				return err
			}
		}
	}
	p, err := newPlace(n)
	if err != nil {
		s.report.leaveOut(works, err)
		return nil
	}
	defer p.close()
	upstream, direct, broker, err := s.startUpstream(ctx, p)
	if err != nil {
		return err
	}
	defer broker.stop()
	for _, w := range works {
		st := &stage{
			work: w, place: p, broker: broker, rows: s.report.rowsOf(w, s.targets),
			route: route{place: p, upstream: upstream, direct: direct},
		}
		if s.cluster != nil && w.Kind == requests {
			if st.topic, err = s.cluster.topic(ctx, w, w.Key == kmsg.Fetch.Int16()); err != nil {
				return err
			}
		}
		if err := s.runWorkload(ctx, st); err != nil {
			return err
		}
		s.report.derive(st.rows)
	}
	return nil
}

// startUpstream starts a fake broker, or says where the real ones are.
func (s *suite) startUpstream(ctx context.Context, p *place) (upstream, direct []string, broker *server, err error) {
	if s.cluster != nil {
		return s.cluster.brokers, s.cluster.brokers, nil, nil
	}
	listen := s.brokerListen
	if listen == "" || p.net != loopback {
		port, err := s.ports.Block(ctx, "127.0.0.1")
		if err != nil {
			return nil, nil, nil, err
		}
		listen = lab.HostPort(p.brokerHost, port)
		direct = []string{lab.HostPort(p.directHost, port)}
		if p.net != loopback {
			upstream, listen = []string{listen}, lab.HostPort("0.0.0.0", port)
		}
	}
	if upstream == nil {
		upstream = []string{listen}
	}
	if direct == nil {
		direct = upstream
	}
	broker, err = s.env.role(ctx, p.broker, "broker", "broker-"+string(p.net), brokerJob{Listen: listen, Advertise: upstream[0]})
	if err != nil {
		return nil, nil, nil, err
	}
	err = lab.Poll(ctx, startTimeout, func() error {
		if err := broker.Alive(); err != nil {
			return lab.Permanent(err)
		}
		return ping(ctx, p, direct[0])
	})
	if err != nil {
		broker.stop()
		return nil, nil, nil, fmt.Errorf("the fake broker: %w", err)
	}
	s.report.Upstream = "fake broker, prepared frames"
	return upstream, direct, broker, nil
}

// command is how the run was started, for the report.
func command(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, " *?'\"") {
			arg = "'" + arg + "'"
		}
		quoted[i] = arg
	}
	return strings.TrimSpace("go run ./bench " + strings.Join(quoted, " "))
}

const clusterTimeout = 30 * time.Second
