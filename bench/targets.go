//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// target is one that is measured.
type target struct {
	name  string
	about string
	blind bool // it does not look at frames
	// find says which version is installed. Its error says how to install it.
	find func(ctx context.Context, e *env) (version string, err error)
	// start starts it. Its owner must stop the returned target.
	start func(ctx context.Context, e *env, r route) (*running, error)
	// warmup is the time that it needs, beside a workload's own warm-up, to reach its
	// best.
	warmup time.Duration
	// noTLS says why it is left out of workloads with TLS; empty: it is in them.
	noTLS string
}

// env is the environment of targets.
type env struct {
	*workshop
	threads int
	files   uint64    // descriptors that each process may have
	kproxy  string    // its binary
	jars    string    // Kroxylicious's
	keys    *keyFiles // of TLS; nil: no workload has it
}

// connections is how many a target may have, at two descriptors each, and half a one for
// the pipes of HAProxy's splicing, which it reserves.
func (e *env) connections() int { return int(min(e.files-e.files/10, 60_000)) * 2 / 5 }

// route is where a target listens and where that leads. Clients bootstrap from the first
// upstream. A real cluster has one for each broker.
type route struct {
	place    *place
	port     int // the first of lab.PortBlock
	upstream []string
	direct   []string // the upstream as clients reach it
	tls      tlsSides
	brokers  []*server // of ours: those that must serve requests
}

// keysOf returns the keys of a target's TLS on a side, if it has TLS.
func (e *env) keysOf(speaks bool) *keyFiles {
	if speaks {
		return e.keys
	}
	return nil
}

// complaints is the output of our brokers, which print errors only.
func (r route) complaints() string {
	var text strings.Builder
	for _, b := range r.brokers {
		text.WriteString(b.LogTail())
	}
	return strings.TrimSpace(text.String())
}

// listen is where a blind target listens for the i-th upstream.
func (r route) listen(i int) string { return lab.HostPort(r.place.proxyHost, r.port+i) }

// running is a target that runs.
type running struct {
	name      string
	server    *server  // nil: nothing of ours
	pids      []int    // of which the CPU counts, with their descendants
	addresses []string // by upstream; a target that looks at frames has one
	config    string
	keys      *keyFiles // that clients speak TLS with; nil: they do not
	group     *cgroup
}

func (r *running) stop() {
	if r == nil {
		return
	}
	r.server.stop()
	r.group.close()
}

// directName is the target that is none.
const directName = "direct"

// targets is all of the suite's own, in the order of the report.
func targets() []target {
	return []target{
		{name: directName, about: "no proxy: the row that the others are compared with", find: noProxy, start: startDirect},
		{name: kproxyName, about: "this module's proxy", find: findKproxy, start: startKproxy},
		haproxy(haproxyName, "HAProxy, mode tcp", ""),
		haproxySplice(),
		nginx("nginx-16k", "16k"),
		nginx("nginx-64k", "64k"),
		{name: "iocopy", about: "a blind Go relay: io.Copy both ways, for TLS between crypto/tls and with 128 KiB", blind: true, find: builtIn, start: startRelay},
		{
			name: kroxyliciousName, about: "Kroxylicious, Java, no filters", find: findKroxylicious,
			start: startKroxylicious, warmup: kroxyliciousWarmup, noTLS: kroxyliciousNoTLS,
		},
	}
}

func targetNames() []string {
	var names []string
	for _, t := range targets() {
		names = append(names, t.name)
	}
	return names
}

// targetNamed finds one of the suite's own targets.
func targetNamed(name string) (t target, ok bool) {
	all := targets()
	i := slices.IndexFunc(all, func(t target) bool { return t.name == name })
	if i < 0 {
		return target{}, false
	}
	return all[i], true
}

func about(name string) string {
	if t, ok := targetNamed(name); ok {
		return t.about
	}
	return "a proxy of the user's"
}

func builtIn(ctx context.Context, _ *env) (string, error) {
	return firstLine(exec.CommandContext(ctx, "go", "version")), nil
}

func noProxy(context.Context, *env) (string, error) { return "no proxy", nil }

// firstLine is the first line of a program's version output. Its failure is ignored.
func firstLine(cmd *exec.Cmd) string {
	out, _ := cmd.CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func startDirect(_ context.Context, _ *env, r route) (*running, error) {
	run := &running{addresses: r.direct, config: "clients connect to " + strings.Join(r.direct, ", ")}
	if r.tls != noTLS {
		run.config += ", by TLS"
	}
	return run, nil
}

func startRelay(ctx context.Context, e *env, r route) (*running, error) {
	job := relayJob{Down: e.keysOf(r.tls.down()), Up: e.keysOf(r.tls.up())}
	run := &running{}
	for i, to := range r.upstream {
		job.Ways = append(job.Ways, relayWay{Listen: r.listen(i), To: to})
		run.addresses = append(run.addresses, r.listen(i))
		run.config += fmt.Sprintf("io.Copy both ways between %s and %s\n", r.listen(i), to)
	}
	if r.tls.down() {
		run.config += fmt.Sprintf("crypto/tls to clients, with %s; %s at a time\n", e.keys.Cert, sizeName(tlsCopyBuffer))
	}
	if r.tls.up() {
		run.config += fmt.Sprintf("crypto/tls to brokers, trusting %s; %s at a time\n", e.keys.Cert, sizeName(tlsCopyBuffer))
	}
	threads := fmt.Sprintf("GOMAXPROCS=%d", e.threads)
	run.config += threads
	var err error
	run.server, err = e.role(ctx, r.place.proxy, "relay", "iocopy", job, threads)
	return run, err
}

// user is a target that the user has started.
func (u userTarget) target() target {
	return target{
		name: u.name, about: "a proxy of the user's, at " + u.address,
		noTLS: "left out of workloads with TLS: the suite's key is made for each run, and it has not got it",
		find: func(context.Context, *env) (string, error) {
			var names []string
			for _, pid := range u.pids {
				exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				if errors.Is(err, os.ErrNotExist) {
					return "", fmt.Errorf("no process %d", pid)
				}
				names = append(names, filepath.Base(exe))
			}
			return strings.Join(names, ", "), nil
		},
		start: func(_ context.Context, _ *env, r route) (*running, error) {
			if r.place.net != loopback {
				return nil, errors.New("it is not in the suite's namespaces")
			}
			return &running{addresses: []string{u.address}, pids: u.pids, config: "the user's own"}, nil
		},
	}
}

// startTimeout is how long a target may take until it forwards a request. A JVM starts
// slowly on a busy machine.
const startTimeout = 30 * time.Second

// run starts a target, and waits until it forwards requests.
func (t target) run(ctx context.Context, e *env, r route) (*running, error) {
	run, err := t.start(ctx, e, r)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", t.name, err)
	}
	run.name = t.name
	run.keys = e.keysOf(r.tls.down() || r.tls != noTLS && t.name == directName)
	if run.server != nil {
		run.pids = []int{run.server.pid}
	}
	if err := lab.Poll(ctx, startTimeout, func() error {
		if run.server != nil {
			if err := run.server.Alive(); err != nil {
				return lab.Permanent(err)
			}
		}
		if err := ping(ctx, r.place, run.addresses[0], run.keys); err != nil || run.server == nil {
			return err
		}
		return run.server.Alive() // the response came from this target
	}); err != nil {
		run.stop()
		if said := r.complaints(); said != "" {
			err = fmt.Errorf("%w; the fake broker: %s", err, said)
		}
		return nil, fmt.Errorf("%s does not respond: %w", t.name, err)
	}
	if run.server != nil {
		if run.group, err = newCgroup(e.registry, t.name); err == nil {
			all, _ := allProcesses() // none, then, and nothing is counted
			for _, p := range tree(all, run.pids...) {
				_ = run.group.take(p.pid) // it may have ended
			}
		}
	}
	return run, nil
}

// ping sends one ApiVersions request, by TLS if there are keys, and reads the
// response.
func ping(ctx context.Context, p *place, address string, keys *keyFiles) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	config, err := keys.client()
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx, address)
	if err != nil {
		return err
	}
	if conn, err = overTLS(ctx, conn, config); err != nil {
		if errors.Is(err, errOtherTLS) {
			err = lab.Permanent(err)
		}
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	w := asking("ping", idle, 1, "")
	w.Key, w.Version = kmsg.ApiVersions.Int16(), 0 // every broker supports v0
	return newLoadConn(newLoad(loadJob{Work: w}, nil), conn).askOnce()
}
