//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

// size has the numbers and times of a run.
type size struct {
	Herd     int           // clients that come back
	Rounds   int           // how often
	Dawdlers int           // clients that send a byte a second, or half a handshake
	Most     int           // limits.max_connections, in a scene about it
	Flood    time.Duration // how long connections are opened and closed
	Calm     time.Duration // how long is looked before and after
	Limits   string        // more of kproxy's limits, as YAML behind a comma
}

// dawdling is the limit in kproxy's configuration that ends dawdlers.
const dawdling = 5 * time.Second

// site has the parts that all scenes share: a broker, kproxy's binary, certificates.
type site struct {
	size
	dir    string
	binary string
	ports  *lab.Ports
	ca     *certlab.Authority
	pair   brokerJob // files of the listener's certificate

	broker, bare *child // a plaintext broker, and the same behind bare TLS
	haproxy      *lab.Process
	haproxyAt    string // where it leads to the broker
	behind       string // the broker's address
	bareDoor     door

	say func(format string, args ...any)
}

// newSite starts the parts that scenes share. The owner must close it, also after an
// error.
func newSite(ctx context.Context, dir string, n size, say func(format string, args ...any)) (s *site, err error) {
	s = &site{size: n, dir: dir, ports: lab.NewPorts(), say: say}
	if err := raiseFileLimit(2*n.Herd + 4*n.Dawdlers + 1000); err != nil {
		return s, err
	}
	if s.binary, err = lab.BuildKproxy(ctx, dir); err != nil {
		return s, err
	}
	if err := s.certify(); err != nil {
		return s, err
	}
	var address string
	if s.broker, s.behind, err = startBroker(ctx, brokerJob{}); err != nil {
		return s, err
	}
	if s.bare, address, err = startBroker(ctx, s.pair); err != nil {
		return s, err
	}
	s.bareDoor = door{address, s.clientTLS()}
	return s, s.startHAProxy(ctx)
}

func (s *site) close() error {
	if s.haproxy != nil {
		s.haproxy.Kill()
	}
	return errors.Join(s.broker.close(), s.bare.close())
}

func startBroker(ctx context.Context, job brokerJob) (*child, string, error) {
	c, err := startChild(ctx, brokerRole)
	if err != nil {
		return nil, "", err
	}
	var response brokerResponse
	err = c.ask(job, &response)
	return c, response.Address, err
}

// certify makes the listener's certificate.
func (s *site) certify() (err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("make certificates: %v", failed)
		}
	}()
	t, files := noTest{s.dir}, certlab.Folder(s.dir)
	s.ca = certlab.NewAuthority(t, "herd")
	s.pair.Cert, s.pair.Key = files.Pair(t, "kproxy", s.ca.Issue(t, nil, serverName))
	return nil
}

func (s *site) clientTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: s.ca.Pool()}
}

// noTest stands for a test where there is none. It panics where a test would fail.
type noTest struct{ dir string }

func (noTest) Helper()           {}
func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (n noTest) TempDir() string { return n.dir }

// raiseFileLimit lets this process and its children have n descriptors.
func raiseFileLimit(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	want := max(limit.Max, uint64(n))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: want}); err != nil {
		return fmt.Errorf("a limit of %d open files (it is %d; ulimit -Hn): %w", want, limit.Max, err)
	}
	return nil
}

const configuration = `
clusters:
  herd:
    bootstrap: [%[1]s]
    listeners:
      plain: {bind: 127.0.0.1:%[2]d, nodes: {ports: %[3]d-%[3]d}}
      tls:
        bind: 127.0.0.1:%[4]d
        advertise: kproxy.test:%[4]d
        nodes: {ports: %[5]d-%[5]d}
        tls: {certs: [{cert: %[6]q, key: %[7]q}]}
      read: {bind: 127.0.0.1:%[10]d, nodes: {ports: %[11]d-%[11]d}, apis: {preset: read-only}}
limits: {%[8]s}
admin: {bind: 127.0.0.1:%[9]d}
log: {level: info, format: json}
`

// kproxy is a running `kproxy serve`.
type kproxy struct {
	site  *site
	proc  *lab.Process
	dir   string
	yaml  string
	admin string
	plain door
	tls   door
	read  door // plaintext, and read-only
}

// startKproxy runs the usual binary, with these limits.
func (s *site) startKproxy(ctx context.Context, limits string) (*kproxy, error) {
	dir, err := os.MkdirTemp(s.dir, "kproxy-")
	if err != nil {
		return nil, err
	}
	base, err := s.ports.Block(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return lab.HostPort("127.0.0.1", base+i) }
	k := &kproxy{site: s, dir: dir, plain: door{at(0), nil}, tls: door{at(2), s.clientTLS()}, admin: at(4), read: door{at(5), nil}}
	k.yaml = fmt.Sprintf(configuration, s.behind, base, base+1, base+2, base+3, s.pair.Cert, s.pair.Key, limits, base+4, base+5, base+6)
	return k, k.start(ctx)
}

// start runs it, and waits until it serves.
func (k *kproxy) start(ctx context.Context) (err error) {
	if k.proc, err = lab.StartKproxy(context.WithoutCancel(ctx), k.site.binary, k.dir, nil, k.yaml); err != nil {
		return err
	}
	return lab.Poll(ctx, time.Minute, func() error {
		if err := k.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := lab.Get(ctx, k.admin, "/readyz")
		return err
	})
}

// figures are kproxy's resources, and the untouched clients' figures.
type figures struct {
	Probes           map[string]seen
	RSS, Peak        int64 // bytes; Peak since its last reset
	Files            int
	Goroutines       int
	Active           int // sessions
	Opened, LogLines int
	Closed           map[string]int // sessions, by reason
	CPU              time.Duration
}

// look asks kproxy and the kernel for the present figures.
func (k *kproxy) look(ctx context.Context) (f figures, err error) {
	metrics, err := lab.Get(ctx, k.admin, "/metrics")
	if err != nil {
		return f, err
	}
	if f.Closed, err = lab.Counts(metrics, "kproxy_sessions_closed_total", "reason", nil); err != nil {
		return f, err
	}
	if f.Active, err = sum(metrics, "kproxy_sessions_active"); err != nil {
		return f, err
	}
	if f.Opened, err = sum(metrics, "kproxy_sessions_opened_total"); err != nil {
		return f, err
	}
	value := func(name string) float64 {
		n, failed := lab.Value(metrics, name)
		err = cmp.Or(err, failed)
		return n
	}
	f.Files, f.Goroutines = int(value("process_open_fds")), int(value("go_goroutines"))
	f.CPU = time.Duration(value("process_cpu_seconds_total") * float64(time.Second))
	if err != nil {
		return f, err
	}
	if f.RSS, f.Peak, err = memory(k.proc.PID()); err != nil {
		return f, err
	}
	log, err := os.ReadFile(k.proc.LogPath)
	f.LogLines = strings.Count(string(log), "\n")
	return f, err
}

func sum(metrics, name string) (total int, err error) {
	counts, err := lab.Counts(metrics, name, "cluster", nil)
	for n := range maps.Values(counts) {
		total += n
	}
	return total, err
}

// settle waits until so many sessions are open, and returns the figures at that time.
func (k *kproxy) settle(ctx context.Context, active int) (f figures, err error) {
	err = lab.Poll(ctx, patience, func() (err error) {
		if err := k.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		if f, err = k.look(ctx); err == nil && f.Active != active {
			err = fmt.Errorf("%d sessions are open, want %d", f.Active, active)
		}
		return err
	})
	return f, err
}

// forgetPeak has VmHWM begin anew.
func (k *kproxy) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", k.proc.PID()), []byte("5"), 0)
}

// memory is VmRSS and VmHWM of a process, in bytes.
func memory(pid int) (rss, peak int64, err error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.Contains([]string{"VmRSS:", "VmHWM:"}, fields[0]) {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if fields[0] == "VmRSS:" {
			rss = n << 10
		} else {
			peak = n << 10
		}
	}
	if rss == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("/proc/%d/status tells no memory", pid)
	}
	return rss, peak, nil
}
