//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
	"kproxy/e2e/workload"
	"kproxy/internal/certlab"
)

// reloadable is kproxy with a configuration that a test changes while it runs. The listeners
// many (plaintext) and secure (TLS) stay as they are. Everything else changes.
type reloadable struct {
	proc  *lab.Process
	file  string
	admin int // port
	many  listener
	ports struct{ many, secure, bob, fred, spare, stock, admin int } // of blocks
	files certlab.Folder
	ca    *certlab.Authority
	cert  string // the files of listeners' TLS
	key   string
	other string // a certificate that the others change to
	okey  string
}

// variant has the parts of a configuration that differ.
type variant struct {
	bob, fred, more string // listeners, in YAML
	cluster         string // another one
	keys            string // of cluster story
	rest            string // sections beside clusters and admin
	admin           int    // port
	secureCerts     string
}

func (r *reloadable) base() variant {
	return variant{
		bob:         r.listener("bob", r.ports.bob, ""),
		fred:        r.listener("fred", r.ports.fred, ""),
		rest:        "log: {level: info, format: json}\n",
		admin:       r.ports.admin,
		secureCerts: fmt.Sprintf("[{cert: %q, key: %q}]", r.cert, r.key),
	}
}

func (r *reloadable) listener(name string, port int, keys string) string {
	return fmt.Sprintf("      %s: {bind: 127.0.0.1:%d, nodes: {ports: %d-%d, first_node: 1}%s}\n", name, port, port+1, port+brokerCount, keys)
}

func (r *reloadable) yaml(v variant) string {
	route := shared.kafka.byAddress()
	return fmt.Sprintf(`
clusters:
  story:
    bootstrap: [%s]
    dial: [%s]
%s    listeners:
      many: {bind: 127.0.0.4:%d, nodes: {ports: %s, first_node: 1}}
      secure: {bind: 127.0.0.1:%d, advertise: localhost:%d, nodes: {ports: %s, first_node: 1}, tls: {certs: %s}}
%s%s%s%sadmin: {bind: 127.0.0.1:%d, pprof: true}
%s`, strings.Join(route.Bootstrap, ", "), strings.Join(route.Dial, ", "), v.keys,
		r.ports.many, nodePorts(r.ports.many), r.ports.secure, r.ports.secure, nodePorts(r.ports.secure), v.secureCerts,
		v.bob, v.fred, v.more, v.cluster, v.admin, v.rest)
}

// newReloadable returns one that is not started: its ports and its certificates.
func newReloadable(t *testing.T) *reloadable {
	t.Helper()
	r := &reloadable{files: certlab.NewFolder(t), ca: certlab.NewAuthority(t, "kproxy")}
	r.cert, r.key = r.files.Pair(t, "edge", r.ca.Issue(t, nil, "localhost"))
	r.other, r.okey = r.files.Pair(t, "other", r.ca.Issue(t, nil, "localhost"))
	for host, ports := range map[string][]*int{
		"127.0.0.1": {&r.ports.secure, &r.ports.bob, &r.ports.fred, &r.ports.spare, &r.ports.stock, &r.ports.admin},
		"127.0.0.4": {&r.ports.many},
	} {
		for _, port := range ports {
			var err error
			if *port, err = shared.ports.Block(t.Context(), host); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.admin = r.ports.admin
	r.many = listener{
		Name: "many", Advertise: lab.HostPort("127.0.0.4", r.ports.many),
		told: func(node int32) string { return lab.HostPort("127.0.0.4", r.ports.many+int(node)) },
	}
	r.file = filepath.Join(string(r.files), "kproxy.yaml")
	return r
}

func startReloadable(t *testing.T) *reloadable {
	t.Helper()
	r := newReloadable(t)
	// Not the test's context: that ends before the cleanup which stops kproxy.
	proc, err := lab.StartKproxy(context.Background(), shared.kproxy, string(r.files), nil, r.yaml(r.base()))
	if err != nil {
		t.Fatal(err)
	}
	r.proc = proc
	t.Cleanup(func() {
		if err := proc.Stop(drainTimeout); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("kproxy's log of reloads:\n%s", linesWith(proc.LogPath, "reloaded", "admin server", "ERROR", "WARN", "serving"))
		}
	})
	eventually(t, 20*time.Second, func() error {
		_, err := r.get(t.Context(), "/metrics")
		return err
	})
	return r
}

// get reads a path of the admin server.
func (r *reloadable) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.admin, path), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// metric returns the value of a metric without labels.
func (r *reloadable) metric(t *testing.T, name string) float64 {
	t.Helper()
	text, err := r.get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? ([0-9.e+]+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no metric %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// reload writes a configuration and has kproxy apply it, by POST or by SIGHUP. good says whether
// it is one that can be applied.
func (r *reloadable) reload(t *testing.T, v variant, bySignal, good bool) {
	t.Helper()
	// In one step: a signal must not find a half of it.
	next := r.file + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(r.yaml(v)), 0o600), os.Rename(next, r.file)); err != nil {
		t.Fatal(err)
	}
	if bySignal {
		r.signal(t, v.admin, good)
		return
	}
	resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/-/reload", r.admin), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[bool]int{true: http.StatusOK, false: http.StatusUnprocessableEntity}[good]; resp.StatusCode != want {
		t.Fatalf("POST: got %s, want %d: %s\n%s", resp.Status, want, body, r.yaml(v))
	}
	if !json.Valid(body) {
		t.Errorf("the response is no JSON: %s", body)
	}
	if good {
		r.admin = v.admin
	}
}

func (r *reloadable) signal(t *testing.T, admin int, good bool) {
	t.Helper()
	bySignal := func() int { return strings.Count(linesWith(r.proc.LogPath, `"by":"signal"`), "\n") }
	before := bySignal()
	if err := r.proc.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if bySignal() == before {
			return errors.New("it has not reloaded")
		}
		return nil
	})
	if good {
		r.admin = admin
	}
	if got := r.metric(t, "kproxy_config_last_reload_success") == 1; got != good {
		t.Fatalf("SIGHUP: got success %v, want %v", got, good)
	}
}

// change returns the next configuration of a series, and whether it can be applied. Every kind
// of change comes again and again, and every tenth configuration is a bad one.
func (r *reloadable) change(random *rand.Rand, number int) (v variant, good bool) {
	v, good = r.base(), number%10 != 9
	for _, change := range []func(){
		func() { v.bob, v.fred = r.listener("bob", r.ports.fred, ""), r.listener("fred", r.ports.bob, "") },
		func() { v.bob = r.listener("bob", r.ports.bob, ", limits: {max_connections: 1}") },
		func() { v.fred = "" },
		func() { v.more = r.listener("spare", r.ports.spare, "") },
		func() { v.fred, v.admin = "", r.ports.fred },                                           // admin takes a listener's port
		func() { v.admin = r.ports.spare + 5; v.more = r.listener("spare", r.ports.admin, "") }, // and the other way round
		func() { v.bob = r.listener("bob", r.ports.bob, ", apis: {preset: read-only}, deny: [127.9.9.9]") },
		func() {
			v.fred = r.listener("fred", r.ports.fred, fmt.Sprintf(", tls: {certs: [{cert: %q, key: %q}]}", r.other, r.okey))
		},
		func() { v.secureCerts = fmt.Sprintf("[{cert: %q, key: %q}]", r.other, r.okey) },
		func() { v.keys = "    connect_timeout: 7s\n    forget_after: 30m\n" },
		func() { v.rest = "log: {level: debug, format: json}\n" },
		func() { v.rest += "limits: {max_connections: 500, idle_timeout: 10m, max_held_bytes: 67108864}\n" },
		func() { v.rest += "drain: {timeout: 3s, delay: 1s}\n" },
		func() {
			v.cluster = fmt.Sprintf("  stock:\n    bootstrap: [%s]\n    listeners:\n%s", shared.kafka.client(1), r.listener("stock", r.ports.stock, ""))
		},
	} {
		if random.IntN(5) == 0 {
			change()
		}
	}
	if !good {
		for _, bad := range []func(){
			func() { v.rest += "nonsense: 1\n" },
			func() { v.bob = "      bob: {bind: nonsense}\n" },
			func() { v.keys += "    tls: {ca: /nowhere/ca.pem}\n" },
			func() { v.more += r.listener("taken", shared.kafka.clientBase, "") }, // a broker listens there
		}[number/10%4 : number/10%4+1] {
			bad()
		}
	}
	return v, good
}

// clashes reports whether two parts of a configuration want one port, which change can make.
func (v variant) clashes(r *reloadable) bool {
	binds := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindAllStringSubmatch(r.yaml(v), -1)
	seen := map[string]bool{}
	for _, bind := range binds {
		if port, _ := strconv.Atoi(bind[1]); port >= shared.kafka.clientBase && port <= shared.kafka.clientBase+brokerCount {
			continue
		}
		if seen[bind[1]] && !strings.Contains(bind[0], strconv.Itoa(r.ports.secure)) {
			return true
		}
		seen[bind[1]] = true
	}
	return false
}

// numberOf is the number in an environment variable; usual, if it has none.
func numberOf(variable string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return usual
}

// flow waits until n more records have gone through each trace.
func flow(t *testing.T, traces []*trace, n int) {
	t.Helper()
	for _, tr := range traces {
		if err := errors.Join(tr.load.Flows(t.Context(), n), tr.java.Flows(t.Context(), n)); err != nil {
			t.Errorf("%s: %v", tr.name, err)
		}
	}
}

// TestReloads changes the configuration again and again while franz-go and Java produce and
// consume through two listeners that stay. Nothing is lost, no request fails, no session of
// theirs is ended by kproxy, and nothing is left behind. E2E_RELOADS is the number; 60 if it is
// not set.
func TestReloads(t *testing.T) {
	reloads := numberOf("E2E_RELOADS", 60)
	classes := t.TempDir()
	if err := workload.CompileJava(t.Context(), shared.kafka.Release, classes); err != nil {
		t.Fatal(err)
	}
	r := startReloadable(t)
	var plain, secure cutter
	traces := []*trace{
		startTrace(t, "reload", &plain, plain.through(t, r.many), r.many.Advertise, classes),
		startTrace(t, "reload-tls", &secure, r.secureOptions(&secure), r.many.Advertise, classes),
	}
	flow(t, traces, 200)
	random := rand.New(rand.NewPCG(uint64(reloads), 1))
	idle := r.idle(t, 3) // more than the limit that some configurations have
	before := r.measure(t)
	applied, refused := 0, 0
	for i := range reloads {
		v, good := r.change(random, i)
		for good && v.clashes(r) {
			v, good = r.change(random, i)
		}
		r.reload(t, v, i%3 == 2, good)
		if good {
			applied++
		} else {
			refused++
		}
		if i%20 == 19 {
			flow(t, traces, 100)
		}
	}
	r.reload(t, r.base(), false, true)
	flow(t, traces, 200)
	t.Logf("%d configurations applied, %d refused, generation %.0f", applied, refused, r.metric(t, "kproxy_config_generation"))
	for _, conn := range idle {
		_ = conn.Close()
	}
	r.settled(t, before)
	r.refuseClosed(t)
	for _, tr := range traces {
		if err := errors.Join(tr.java.Stop(t.Context()), tr.load.Stop(t.Context())); err != nil {
			t.Errorf("%s: %v", tr.name, err)
		}
	}
	for _, tr := range traces {
		t.Run(tr.name, func(t *testing.T) { tr.nothingLost(t) })
	}
}

// planned are the errors that the load has without any reload: records that are too large,
// transactions that it aborts, a coordinator that has just been created, and requests that the
// load's own end interrupts.
var planned = []string{"MESSAGE_TOO_LARGE", "TransactionAborted", "client is aborting buffered records", "COORDINATOR_NOT_AVAILABLE", "context canceled"}

// nothingLost reads the topic by the load's way and at the brokers, and wants no findings, and
// no failure.
func (r *trace) nothingLost(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, c := r.check(ctx, t)
	if c.Acked == 0 || c.TxCommitted == 0 {
		t.Errorf("acknowledged %d, transactions committed %d, want some", c.Acked, c.TxCommitted)
	}
	for _, e := range h.Events {
		if e.Error != "" && !slices.ContainsFunc(planned, func(own string) bool { return strings.Contains(e.Error, own) }) {
			t.Errorf("%s of %s: %s", e.Outcome, e.Client, e.Error)
		}
	}
}

// secureOptions are the options of clients of the listener secure.
func (r *reloadable) secureOptions(c *cutter) func(string) []kgo.Opt {
	return r.secureOptionsBy(c, r.secureDial())
}

func (r *reloadable) secureOptionsBy(c *cutter, dial dialFunc) func(string) []kgo.Opt {
	return func(name string) []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(lab.HostPort("localhost", r.ports.secure)), kgo.Dialer(c.dialer(name, dial))}
	}
}

// secureDial returns a dialer for the addresses of the listener secure alone.
func (r *reloadable) secureDial() dialFunc {
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost", RootCAs: r.ca.Pool()}}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if n, _ := strconv.Atoi(port); err != nil || host != "localhost" || n < r.ports.secure || n > r.ports.secure+brokerCount {
			return nil, fmt.Errorf("%s is no address of kproxy's", address)
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
}

// idle opens connections to bob that send nothing.
func (r *reloadable) idle(t *testing.T, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", lab.HostPort("127.0.0.1", r.ports.bob))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	return all
}

// usage has the numbers that a leak increases.
type usage struct{ files, goroutines, kilobytes int }

func (r *reloadable) measure(t *testing.T) usage {
	t.Helper()
	var u usage
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.proc.PID()))
	if err != nil {
		t.Fatal(err)
	}
	u.files = len(open)
	text, err := r.get(t.Context(), "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(text, "goroutine profile: total %d", &u.goroutines); err != nil {
		t.Fatalf("%v: %.100s", err, text)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.proc.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		_, _ = fmt.Sscanf(string(line), "VmRSS: %d kB", &u.kilobytes)
	}
	return u
}

// settled waits until kproxy uses about as much as before. The load's own connections come and
// go: some are open at one moment and not at another.
func (r *reloadable) settled(t *testing.T, before usage) {
	t.Helper()
	var now usage
	eventually(t, 30*time.Second, func() error {
		now = r.measure(t)
		if now.files > before.files+20 || now.goroutines > before.goroutines+30 || now.kilobytes > before.kilobytes+64<<10 {
			return fmt.Errorf("kproxy uses %+v, before %+v", now, before)
		}
		return nil
	})
	t.Logf("before %+v, after %+v", before, now)
}

// refuseClosed fails the test if kproxy has ended a session of the listeners that stay.
func (r *reloadable) refuseClosed(t *testing.T) {
	t.Helper()
	text, err := r.get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "kproxy_sessions_closed_total{") || !strings.Contains(line, `"many"`) && !strings.Contains(line, `"secure"`) {
			continue
		}
		if !strings.Contains(line, "client_closed") && !strings.Contains(line, "client_reset") && !strings.Contains(line, "no_request") && !strings.Contains(line, "tls_closed") {
			t.Errorf("sessions of listeners that stay have ended: %s", line)
		}
	}
}

// linesWith returns the lines of a file that have one of these words.
func linesWith(path string, words ...string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	var found strings.Builder
	for line := range strings.Lines(string(data)) {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) }) {
			found.WriteString(line)
		}
	}
	return found.String()
}
