//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	rates    map[string]float64  // the pinned rates, by workload
	kept     map[string]*running // targets that are warm, by name; see begin
}

// errUnmeasured says that not every target that is installed could be measured.
var errUnmeasured = errors.New("see the notes: something could not be measured")

func runSuite(ctx context.Context, p *plan, stdout, stderr io.Writer) (err error) {
	if err := errors.Join(writable(p.jsonFile), writable(p.htmlFile)); err != nil {
		return err
	}
	shop, err := openWorkshop(p.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.registry.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &suite{
		plan: p, ports: lab.NewPorts(), progress: newProgress(stderr),
		env:    &env{workshop: shop, threads: p.threads, kproxy: p.kproxy, files: fileLimit()},
		report: newReport(p), rates: make(map[string]float64), kept: make(map[string]*running),
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	runErr := errors.Join(s.runAll(ctx), s.cluster.close())
	s.report.Complete = runErr == nil || errors.Is(runErr, errUnmeasured)
	s.progress.end()
	s.report.finish()
	return errors.Join(runErr, s.report.write(p.jsonFile, p.htmlFile, stdout))
}

// openWorkshop opens a workshop in the user's folder, or in a temporary one, which the janitor removes.
func openWorkshop(users string) (*workshop, error) {
	if users != "" {
		if err := openDir(users, false); err != nil {
			return nil, err
		}
		return newWorkshop(users)
	}
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	if err := openDir(dir, true); err != nil {
		return nil, err
	}
	shop, err := newWorkshop(dir)
	if err != nil {
		_ = os.RemoveAll(dir) // there is no janitor yet
		return nil, err
	}
	if err := shop.registry.owe(leftDir, dir); err != nil {
		return nil, errors.Join(err, shop.registry.close())
	}
	return shop, nil
}

// openDir makes a folder that the targets can read. It does not change a folder of the
// user's; one of MkdirTemp only we can read.
func openDir(dir string, ours bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil || !ours {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// writable checks that a file of the report can be written, before the run: a run takes
// hours.
func writable(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
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
	if slices.ContainsFunc(s.work, workload.hasTLS) {
		if s.env.keys, err = makeKeys(s.env.workshop); err != nil {
			return err
		}
		if s.report.TLS, err = s.env.keys.about(); err != nil {
			return err
		}
	}
	turns := 0
	for _, w := range s.work {
		turns += w.loads() * s.plan.rounds * len(takingPart(w, s.targets))
	}
	s.progress.start(turns, s.estimate())
	return ctx.Err()
}

// find says which version is installed. A quick run has no time for a target that
// warms up, unless it was named.
func (s *suite) find(ctx context.Context, t target) (string, error) {
	if t.warmup > 0 && s.quick && len(s.options.targets) == 0 {
		return "", fmt.Errorf("left out of a quick run: it needs %v to warm up", t.warmup)
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
	plain, err := s.startUpstream(ctx, p, nil)
	if err != nil {
		return err
	}
	defer plain.server.stop()
	defer s.stopKept()
	var secure upstream
	if slices.ContainsFunc(works, workload.hasTLS) {
		if secure, err = s.startUpstream(ctx, p, s.env.keys); err != nil {
			return err
		}
		defer secure.server.stop()
	}
	for _, w := range works {
		st := &stage{work: w, place: p, rows: s.report.rowsOf(w, s.targets), route: routeOf(w, p, plain, secure)}
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

// upstream is a fake broker, or the brokers of a real cluster.
type upstream struct {
	addresses []string // where targets reach them
	direct    []string // where clients do
	server    *server  // nil: a real cluster
}

// routeOf leads a workload's targets to the brokers with or without TLS, as the workload
// requires. Without a target there is one connection, which has TLS if the workload has
// it on any side.
func routeOf(w workload, p *place, plain, secure upstream) route {
	r := route{place: p, upstream: plain.addresses, direct: plain.direct, tls: w.TLS}
	if w.TLS.up() {
		r.upstream = secure.addresses
	}
	if w.hasTLS() {
		r.direct = secure.direct
	}
	for _, u := range []upstream{plain, secure} {
		if u.server != nil {
			r.brokers = append(r.brokers, u.server)
		}
	}
	return r
}

// startUpstream starts a fake broker, which speaks TLS if there are keys, or returns the
// addresses of the real ones.
func (s *suite) startUpstream(ctx context.Context, p *place, keys *keyFiles) (upstream, error) {
	if s.cluster != nil {
		return upstream{addresses: s.cluster.brokers, direct: s.cluster.brokers}, nil
	}
	name, listen := "broker-"+string(p.net), s.brokerListen
	if keys != nil {
		name, listen = name+"-tls", ""
	}
	var u upstream
	if listen == "" || p.net != loopback {
		port, err := s.ports.Block(ctx, "127.0.0.1")
		if err != nil {
			return upstream{}, err
		}
		listen = lab.HostPort(p.brokerHost, port)
		u.direct = []string{lab.HostPort(p.directHost, port)}
		if p.net != loopback {
			u.addresses, listen = []string{listen}, lab.HostPort("0.0.0.0", port)
		}
	}
	if u.addresses == nil {
		u.addresses = []string{listen}
	}
	if u.direct == nil {
		u.direct = u.addresses
	}
	var err error
	u.server, err = s.env.role(ctx, p.broker, "broker", name, brokerJob{Listen: listen, Advertise: u.addresses[0], Keys: keys})
	if err != nil {
		return upstream{}, err
	}
	err = lab.Poll(ctx, startTimeout, func() error {
		if err := u.server.Alive(); err != nil {
			return lab.Permanent(err)
		}
		return ping(ctx, p, u.direct[0], keys)
	})
	if err != nil {
		u.server.stop()
		return upstream{}, fmt.Errorf("the fake broker: %w", err)
	}
	s.report.Upstream = "fake broker, prepared frames"
	return u, nil
}

// command is the command line of the run, for the report.
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
