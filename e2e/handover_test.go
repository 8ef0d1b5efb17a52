//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/portlab"
)

// succession is a kproxy that hands over to one after the other. Its listeners are those of
// reloadable that stay: many (plaintext) and secure (TLS).
type succession struct {
	*reloadable

	program string // the path, where a test puts others
	token   string
	pid     int    // of the process that serves
	version string // of its program
	wide    bool   // it has the listener wide
	host    string // of that
	more    string // further listeners, and then clusters, in YAML
	refused refusals
}

// widePorts is the number of ports of the listener wide, from firstWide on.
const (
	widePorts = 4000
	firstWide = 20000
)

// refusals are connections that kproxy did not accept.
type refusals struct {
	mu  sync.Mutex
	all []string
}

// of returns a dialer whose failed dials are kept.
func (r *refusals) of(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil && ctx.Err() == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.all = append(r.all, fmt.Sprintf("%s: %v", address, err))
		}
		return conn, err
	}
}

func (s *succession) yaml() string {
	route := shared.kafka.byAddress()
	return fmt.Sprintf(`
state_dir: %q
drain: {timeout: 10s, delay: 1h}
reload: {watch: false}
log: {level: info, format: json}
admin: {bind: 127.0.0.1:%d, token_file: %q}
clusters:
  story:
    bootstrap: [%s]
    dial: [%s]
    listeners:
      many: {bind: 127.0.0.4:%d, nodes: {ports: %s, first_node: 1}}
      secure: {bind: 127.0.0.1:%d, advertise: localhost:%d, nodes: {ports: %s, first_node: 1}, tls: {certs: [{cert: %q, key: %q}]}}
`, filepath.Join(string(s.files), "state"), s.ports.admin, filepath.Join(string(s.files), "token"),
		strings.Join(route.Bootstrap, ", "), strings.Join(route.Dial, ", "),
		s.ports.many, nodePorts(s.ports.many), s.ports.secure, s.ports.secure, nodePorts(s.ports.secure), s.cert, s.key) + s.wideYAML() + s.more
}

func (s *succession) wideYAML() string {
	if !s.wide {
		return ""
	}
	return fmt.Sprintf("      wide: {bind: \"%s:%d\", nodes: {ports: %d-%d, first_node: 1}}\n", s.host, firstWide, firstWide+1, firstWide+widePorts-1)
}

// isServer reports whether an address is one of kproxy's listeners.
func (s *succession) isServer(a netip.AddrPort) bool {
	port := int(a.Port())
	in := func(first, n int) bool { return port >= first && port < first+n }
	switch host := a.Addr().String(); host {
	case "127.0.0.4":
		return in(s.ports.many, 1+brokerCount)
	case "127.0.0.1":
		return in(s.ports.secure, 1+brokerCount)
	default:
		return host == s.host && in(firstWide, widePorts)
	}
}

// newSuccession returns one that is not started.
func newSuccession(t *testing.T) *succession {
	t.Helper()
	s := &succession{reloadable: newReloadable(t), token: "correct-horse-battery-staple", host: portlab.Host(t)}
	s.program = filepath.Join(string(s.files), "kproxy")
	if err := errors.Join(os.Symlink(shared.kproxy, s.program), os.WriteFile(filepath.Join(string(s.files), "token"), []byte(s.token), 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

func startSuccession(t *testing.T) *succession {
	t.Helper()
	s := newSuccession(t)
	proc, err := lab.StartKproxy(context.Background(), s.program, string(s.files), nil, s.yaml())
	if err != nil {
		t.Fatal(err)
	}
	s.proc, s.pid = proc, proc.PID()
	t.Cleanup(func() {
		err := lab.Poll(context.Background(), 30*time.Second, func() error {
			if runs(s.pid) {
				_ = syscall.Kill(s.pid, syscall.SIGTERM) // again and again: without the delay
				return fmt.Errorf("process %d has not ended", s.pid)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		proc.Kill() // whatever is left of its group
		if t.Failed() {
			t.Logf("kproxy's log of hand-overs:\n%s", linesWith(proc.LogPath, "hand", "take", "ERROR", "WARN", "serving"))
		}
	})
	eventually(t, 20*time.Second, func() error {
		_, err := s.ask(t.Context(), http.MethodGet, "/metrics")
		return err
	})
	return s
}

// runs reports whether a process has not ended. One that is not reaped yet has.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(after, "Z")
}

// ask sends a request to the admin server. The error has the body of a response that is not 200.
func (s *succession) ask(ctx context.Context, method, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d%s", s.ports.admin, path), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// handOver has a new process take over, and waits for the end of the old one.
func (s *succession) handOver(t *testing.T) {
	t.Helper()
	body, err := s.ask(t.Context(), http.MethodPost, "/-/upgrade")
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		PID, Sessions int
		Version       string
	}
	if err := json.Unmarshal([]byte(body), &result); err != nil || result.PID == s.pid || !runs(result.PID) {
		t.Fatalf("got %s, %v", body, err)
	}
	old, began := s.pid, time.Now()
	s.pid, s.version = result.PID, result.Version
	eventually(t, 20*time.Second, func() error {
		text, err := s.ask(t.Context(), http.MethodGet, "/metrics")
		switch {
		case err != nil:
			return err
		case !strings.Contains(text, "\nkproxy_handover_predecessor_end_timestamp_seconds"):
			return errors.New("the metrics do not have the predecessor's end")
		case runs(old):
			return fmt.Errorf("process %d runs", old)
		}
		return nil
	})
	t.Logf("process %d (%s) took over from %d, whose %d sessions ended within %v", s.pid, s.version, old, result.Sessions, time.Since(began).Round(100*time.Millisecond))
}

// use puts a program in the place of the one on disk.
func (s *succession) use(t *testing.T, program string) {
	t.Helper()
	next := s.program + ".next"
	if err := errors.Join(os.Symlink(program, next), os.Rename(next, s.program)); err != nil {
		t.Fatal(err)
	}
}

// write replaces the configuration in one step.
func (s *succession) write(t *testing.T, yaml string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(s.file+".next", []byte(yaml), 0o600), os.Rename(s.file+".next", s.file)); err != nil {
		t.Fatal(err)
	}
}

// failures are the ways in which a new process does not take over: each changes something, waits for
// the refusal, and changes it back.
func (s *succession) failures(t *testing.T) []func() {
	t.Helper()
	refused := func(want string) {
		t.Helper()
		if _, err := s.ask(t.Context(), http.MethodPost, "/-/upgrade"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if !runs(s.pid) {
			t.Fatal("the old process has ended")
		}
	}
	return []func(){
		func() {
			s.write(t, s.yaml()+"nonsense: 1\n")
			refused("nonsense")
			s.write(t, s.yaml())
		},
		func() {
			program, err := os.Readlink(s.program)
			if err != nil {
				t.Fatal(err)
			}
			s.use(t, "/bin/false")
			refused("ended before it was ready: exit status 1")
			s.use(t, program)
		},
		func() {
			stop := make(chan struct{})
			var killing sync.WaitGroup
			killing.Go(func() { s.killChild(stop) })
			refused("ended before it was ready: signal: killed")
			close(stop)
			killing.Wait()
		},
		func() {
			other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			s.write(t, s.yaml()+fmt.Sprintf("      taken: {bind: %q, nodes: {ports: %d-%d, first_node: 1}}\n", other.Addr(), s.ports.bob+1, s.ports.bob+brokerCount))
			refused("address already in use")
			s.write(t, s.yaml())
		},
	}
}

// killChild kills the new process as soon as there is one.
func (s *succession) killChild(stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.pid))
		for _, list := range lists {
			children, _ := os.ReadFile(list) // a thread may have ended
			for child := range strings.FieldsSeq(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
	}
}

// TestHandOvers hands over again and again while franz-go and Java produce and consume, in plaintext
// and in TLS. Every fifth new process fails. No connection is refused, nothing is lost, and no
// request fails. E2E_HANDOVERS is the number; 5 if it is not set. If it is set, four of them are at 4,000
// ports, and the same load goes directly to the brokers beside them. E2E_OLD=REF has two of them go to the
// kproxy of a commit, and back.
func TestHandOvers(t *testing.T) {
	number := numberOf("E2E_HANDOVERS", 5)
	full := os.Getenv("E2E_HANDOVERS") != ""
	old := ""
	if ref := os.Getenv("E2E_OLD"); ref != "" {
		old = oldKproxy(t, ref)
	}
	s := startSuccession(t)
	l := s.startLoads(t, full)
	failures := s.failures(t)
	done := 0
	handOver := func() {
		t.Helper()
		if done++; done%5 == 0 {
			failures[done/5%len(failures)]()
		}
		s.handOver(t)
		flow(t, l.traces, 50)
	}
	if full {
		s.handOverWide(t, handOver)
	}
	if old != "" {
		s.handOverOld(t, old, handOver)
	}
	for done < number && hasTime(t) {
		handOver()
	}
	if done < number {
		t.Errorf("the time was over after %d of %d hand-overs", done, number)
	}
	t.Logf("%d hand-overs, and %d that failed", done, done/5)
	l.judge(t)
}

// hasTime reports whether the test may go on, and has the time to judge its loads then.
func hasTime(t *testing.T) bool {
	t.Helper()
	deadline, ok := t.Deadline()
	return !ok || time.Until(deadline) > 2*time.Minute
}

// handOverWide adds thousands of ports by a hand-over, passes them on by two others, and removes them.
func (s *succession) handOverWide(t *testing.T, handOver func()) {
	t.Helper()
	s.wide = true
	s.write(t, s.yaml())
	for range 3 {
		handOver()
		for port := range widePorts {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", lab.HostPort(s.host, firstWide+port))
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
	}
	s.wide = false
	s.write(t, s.yaml())
	handOver()
}

// handOverOld hands over to another program, and back.
func (s *succession) handOverOld(t *testing.T, program string, handOver func()) {
	t.Helper()
	now := s.version
	s.use(t, program)
	handOver()
	if s.version == now {
		t.Errorf("got version %s before and after", now)
	}
	s.use(t, shared.kproxy)
	handOver()
	if s.version != now {
		t.Errorf("got version %s, want %s", s.version, now)
	}
}

// oldKproxy builds the kproxy of a commit.
func oldKproxy(t *testing.T, ref string) string {
	t.Helper()
	ref, err := lab.OldRef(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	program, err := lab.BuildKproxyOf(t.Context(), shared.dir, ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the old kproxy is that of %s", ref)
	return program
}
