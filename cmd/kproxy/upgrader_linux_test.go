package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/internal/handover"
	"kproxy/internal/portlab"
	"kproxy/internal/wait"
)

const testToken = "correct-horse-battery-staple"

// chain is a serve in a process of its own, and the processes that take over from it.
type chain struct {
	t     *testing.T
	host  string
	dir   string // of the program, the configuration, the token and the state
	file  string
	pid   int // of the process that serves
	first chan error
	ended chan struct{} // closed when no process is left

	mu  sync.Mutex // guards the following
	log []string
	new chan struct{} // closed at the next line
}

// bootstrap is the address of a broker. The first line of the log that the test waits for is serving.
func startChain(t *testing.T, bootstrap string) *chain {
	t.Helper()
	c := &chain{t: t, host: portlab.Host(t), dir: t.TempDir(), first: make(chan error, 1), ended: make(chan struct{}), new: make(chan struct{})}
	c.file = filepath.Join(c.dir, "kproxy.yaml")
	c.writeFile("token", testToken)
	c.configure(bootstrap, "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, c.program()); err != nil {
		t.Fatal(err)
	}
	cmd := kproxyCommand(t, "serve", "--config", c.file)
	cmd.Env = append(cmd.Env, "PATH="+c.dir) // where it looks for its program
	r, w := pipe(t)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	c.pid = cmd.Process.Pid
	go func() { c.first <- cmd.Wait() }()
	go c.read(r)
	t.Cleanup(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for late, left := time.After(20*time.Second), true; left; {
			_ = syscall.Kill(c.pid, syscall.SIGTERM) // again and again: without the delay
			select {
			case <-c.ended:
				left = false
			case <-tick.C:
			case <-late:
				t.Error("a process is left")
				left = false
			}
		}
		if t.Failed() {
			t.Logf("log:\n%s", strings.Join(c.lines(), "\n"))
		}
	})
	c.want("msg=serving", 1)
	return c
}

func (c *chain) program() string { return filepath.Join(c.dir, "kproxy") }

func (c *chain) writeFile(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := errors.Join(os.WriteFile(path+".next", []byte(text), 0o600), os.Rename(path+".next", path)); err != nil {
		c.t.Fatal(err)
	}
}

// configure writes the configuration, with more keys.
func (c *chain) configure(bootstrap, more string) {
	c.t.Helper()
	c.writeFile("kproxy.yaml", fmt.Sprintf(`
state_dir: %s
drain: {timeout: 2s, delay: 1h}
reload: {watch: false}
admin: {bind: "%s:9400", token_file: %s}
clusters:
  orders:
    bootstrap: [%q]
    listeners:
      fred: {bind: "%s:9092", nodes: {ports: 9100-9109}}
%s`, filepath.Join(c.dir, "state"), c.host, filepath.Join(c.dir, "token"), bootstrap, c.host, more))
}

// read keeps the log of all processes until the last has ended.
func (c *chain) read(r *os.File) {
	defer close(c.ended)
	for s := bufio.NewScanner(r); s.Scan(); {
		c.mu.Lock()
		c.log = append(c.log, s.Text())
		close(c.new)
		c.new = make(chan struct{})
		c.mu.Unlock()
	}
}

func (c *chain) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log
}

// want waits for the nth line of the log that has text, and returns it.
func (c *chain) want(text string, n int) string {
	c.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		wait, seen := c.new, 0
		for _, line := range c.log {
			if strings.Contains(line, text) {
				if seen++; seen == n {
					c.mu.Unlock()
					return line
				}
			}
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-c.ended:
			c.t.Fatalf("the log ended before %q", text)
		case <-timeout:
			c.t.Fatalf("the log has no line %q", text)
		}
	}
}

func (c *chain) upgrade(code int) (stdout, stderr string) {
	c.t.Helper()
	return runWith(c.t, code, "upgrade", "--admin", c.host+":9400", "--token-file", filepath.Join(c.dir, "token"))
}

// upgraded is upgrade for one that succeeds. The process that serves is the chain's then.
func (c *chain) upgraded() {
	c.t.Helper()
	out, _ := c.upgrade(exitDone)
	found := regexp.MustCompile(`^process (\d+) serves, version \S+; the old process ends \d+ sessions? within 2s\n$`).FindStringSubmatch(out)
	if found == nil {
		c.t.Fatalf("got %q", out)
	}
	c.pid, _ = strconv.Atoi(found[1])
}

// unavailable skips a test that this machine cannot run. In CI, where each must run, it fails.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// childOf returns the new process that a process has started; 0: there is none yet.
func (c *chain) childOf(pid int) int {
	c.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(lists) == 0 {
		unavailable(c.t, "this kernel does not list children: %v", err)
	}
	var all []string
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		all = append(all, strings.Fields(string(text))...)
	}
	for _, pid := range all { // package os starts another one for a moment, to try the system
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%s/environ", pid))
		if strings.Contains(string(environ), handover.Variable+"=") {
			child, _ := strconv.Atoi(pid)
			return child
		}
	}
	return 0
}

// child is childOf for one that is there.
func (c *chain) child(pid int) int {
	c.t.Helper()
	child := c.childOf(pid)
	if child == 0 {
		c.t.Fatal("there is no new process")
	}
	return child
}

func (c *chain) connect() net.Conn {
	c.t.Helper()
	client, err := new(net.Dialer).DialContext(c.t.Context(), "tcp", c.host+":9092")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	return client
}

// metrics returns those of the process that serves.
func (c *chain) metrics() string {
	c.t.Helper()
	return c.get("/metrics")
}

// get asks the admin server.
func (c *chain) get(path string) string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.host+":9400"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil {
		c.t.Fatal(err)
	}
	return text.String()
}

func oneBroker(t *testing.T) string {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	return brokers.ListenAddrs()[0]
}

// silentBroker accepts connections, and does not respond.
func silentBroker(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// A new process takes over: by the command, and by the signal. Its predecessor's sessions end, and
// so does its process. A second hand-over waits for that.
func TestServeHandsOver(t *testing.T) {
	t.Parallel()
	c := startChain(t, oneBroker(t))
	old := c.connect()
	askVersions(t, old)
	first := c.pid

	c.upgraded()
	if c.pid == first {
		t.Fatal("the same process serves")
	}
	_, errs := c.upgrade(exitFailed)
	if !strings.Contains(errs, "the kproxy before this one still drains, for ") || !strings.Contains(errs, "try again then") {
		t.Errorf("a second hand-over: %s", errs)
	}
	askVersions(t, c.connect())
	if got := c.get("/api/v1/connections"); !regexp.MustCompile(`^\{"connections":\[\{"id":20000\d\d,`).MatchString(got) {
		t.Errorf("the ids of connections do not begin above those of the process before: %s", got)
	}
	if err := syscall.Kill(first, syscall.SIGHUP); err != nil { // one for the file that the new process has read
		t.Fatal(err)
	}
	c.want("SIGHUP goes to the process that has taken over", 1)
	c.want("configuration reloaded", 1)
	if got := c.metrics(); !strings.Contains(got, "\nkproxy_handover_timestamp_seconds") || strings.Contains(got, "\nkproxy_handover_predecessor_end") {
		t.Errorf("the metrics do not say that the predecessor drains: %s", got)
	}
	if n, err := old.Read(make([]byte, 1)); err == nil {
		t.Errorf("the old session goes on: %d bytes", n)
	}
	select {
	case err := <-c.first:
		if err != nil {
			t.Errorf("the first process ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the first process has not ended")
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(c.metrics(), "\nkproxy_handover_predecessor_end_timestamp_seconds"); {
		if time.Now().After(end) {
			t.Fatal("the metrics do not have the predecessor's end")
		}
	}

	if err := syscall.Kill(c.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	line := c.want("the new process serves, and this one drains", 2)
	found := regexp.MustCompile(`by=signal pid=(\d+)|pid=(\d+) .*by=signal`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("got %s", line)
	}
	c.pid, _ = strconv.Atoi(found[1] + found[2])
	askVersions(t, c.connect())
	if state, err := os.ReadFile(filepath.Join(c.dir, "state", "orders.json")); err != nil || !strings.Contains(string(state), `"node": 0`) {
		t.Errorf("state: %s, %v", state, err)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "state", "orders.json.broken")); err == nil {
		t.Error("the state file was broken")
	}
}

// A new process that cannot take over changes nothing, and its reasons come back.
func TestServeHandOverFails(t *testing.T) {
	bootstrap := oneBroker(t)
	c := startChain(t, bootstrap)
	client := c.connect()
	askVersions(t, client)

	c.configure(bootstrap, "nonsense: 1\nlog: {level: loud}\n")
	_, errs := c.upgrade(exitFailed)
	if !strings.Contains(errs, "kproxy.yaml:11:1: nonsense") || !strings.Contains(errs, "log.level") || strings.Count(errs, "\n") != 2 {
		t.Errorf("a configuration with mistakes: %s", errs)
	}
	c.want("the new process did not take over; nothing has changed", 2)

	c.configure(bootstrap, fmt.Sprintf("      more: {bind: %q, nodes: {ports: 9200}}\n", silentBroker(t)))
	if _, errs := c.upgrade(exitFailed); !strings.Contains(errs, "address already in use") {
		t.Errorf("an address in use: %s", errs)
	}

	c.configure(bootstrap, "")
	if err := os.Remove(c.program()); err != nil {
		t.Fatal(err)
	}
	c.writeFile("kproxy", "this is no program")
	if _, errs := c.upgrade(exitFailed); !strings.Contains(errs, "the new process cannot start: ") {
		t.Errorf("no program: %s", errs)
	}

	askVersions(t, client)
	askVersions(t, c.connect())
	if got := c.metrics(); !strings.Contains(got, "\nkproxy_handover_failures_total 3\n") && !strings.Contains(got, "kproxy_handover_failures_total{") {
		t.Errorf("the metrics do not have the failures:\n%s", got)
	}
}

// The process that is left serves, whichever is killed while the new one waits for a broker. The
// state file is whole, and is written again.
func TestServeHandOverKilled(t *testing.T) {
	t.Parallel()
	for _, kills := range []string{"new", "old"} {
		t.Run(kills, func(t *testing.T) {
			bootstrap := oneBroker(t)
			c := startChain(t, bootstrap)
			askVersions(t, c.connect())
			c.configure(silentBroker(t), "")
			result := make(chan error, 1)
			go func() {
				_, err := (&adminClient{}).upgradeAt(t.Context(), c.host+":9400", testToken)
				result <- err
			}()
			c.want("brokers remembered", 1) // by the new process: it has the state file
			child := c.child(c.pid)
			if kills == "new" {
				if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if err := <-result; err == nil || !strings.Contains(err.Error(), "ended before it was ready: signal: killed") {
					t.Errorf("got %v", err)
				}
				askVersions(t, c.connect())
				c.configure(bootstrap, "")
				c.upgraded() // the old process has taken the state back
				return
			}
			if err := syscall.Kill(c.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.pid = child
			if err := <-result; err == nil {
				t.Error("the old process has responded")
			}
			c.want("msg=serving", 2)
			conn := c.connect()
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if status, _ := get(t, c.host+":9400", "/livez"); status != http.StatusOK {
				t.Errorf("/livez: %d", status)
			}
		})
	}
}

// moments are those after the start of a new process at which one is killed. A hand-over takes 50 ms.
var moments = []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond, 45 * time.Millisecond, 100 * time.Millisecond}

// newChild waits for a new process. A session of the old one keeps that there for a moment, also if the
// new one serves already.
func (c *chain) newChild() int {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if child := c.childOf(c.pid); child != 0 {
			return child
		}
	}
	c.t.Fatal("there is no new process")
	return 0
}

// The old process is killed at any moment of a hand-over: the new one serves, and the state file is
// whole.
func TestServeHandOverKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, moment := range moments {
		t.Run(moment.String(), func(t *testing.T) {
			c := startChain(t, oneBroker(t))
			askVersions(t, c.connect())
			if err := syscall.Kill(c.pid, syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			c.want("handing over", 1)
			child := c.newChild()
			wait.Sleep(t.Context(), moment)
			if err := syscall.Kill(c.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.pid = child
			c.want("msg=serving", 2) // a connection that was in the queue of a socket of the old process alone was reset
			askVersions(t, c.connect())
			state, err := os.ReadFile(filepath.Join(c.dir, "state", "orders.json"))
			if err == nil && !json.Valid(state) || err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("state: %s, %v", state, err)
			}
		})
	}
}

// The new process is killed at any moment: the old one serves, and can hand over again.
func TestServeHandOverNewKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, moment := range moments {
		t.Run(moment.String(), func(t *testing.T) {
			c := startChain(t, oneBroker(t))
			askVersions(t, c.connect())
			result := make(chan error, 1)
			go func() {
				_, err := (&adminClient{}).upgradeAt(context.WithoutCancel(t.Context()), c.host+":9400", testToken)
				result <- err
			}()
			c.want("handing over", 1)
			child := c.newChild()
			wait.Sleep(t.Context(), moment)
			select {
			case err := <-result:
				if err != nil {
					t.Fatal(err)
				}
				c.pid = child // it serves already
				return
			default:
			}
			if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := <-result; err == nil {
				return // it served, and then it was killed: only the old one is left, and drains
			}
			askVersions(t, c.connect())
			c.upgraded()
			askVersions(t, c.connect())
		})
	}
}

// A hand-over is to the configuration on disk: sockets are bound and closed, and the admin
// server moves, and its response is delivered.
func TestServeHandsOverAnotherConfiguration(t *testing.T) {
	bootstrap := oneBroker(t)
	c := startChain(t, bootstrap)
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	next := strings.NewReplacer(":9400", ":9401", "9100-9109", "9105-9114").Replace(string(text))
	c.writeFile("kproxy.yaml", next+fmt.Sprintf("      bob: {bind: %q, nodes: {ports: 9200}}\n", c.host+":9192"))
	c.upgraded()
	c.want("listening sockets are closed that the configuration does not have", 1)
	reaches := func(port string) bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", c.host+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	for port, want := range map[string]bool{":9092": true, ":9105": true, ":9109": true, ":9114": true, ":9192": true, ":9200": true, ":9401": true} {
		if got := reaches(port); got != want {
			t.Errorf("port %s is open: %t, want %t", port, got, want)
		}
	}
	for _, port := range []string{":9104", ":9400"} {
		for end := time.Now().Add(10 * time.Second); reaches(port); {
			if time.Now().After(end) {
				t.Fatalf("port %s is open", port)
			}
		}
	}
	if status, _ := get(t, c.host+":9401", "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d", status)
	}
}

// Thousands of ports go over, and each process holds one file for each.
func TestServeHandsOverManyPorts(t *testing.T) {
	const ports = 4000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < ports+500 {
		unavailable(t, "%d files may be open, %v", limit.Cur, err)
	}
	c := startChain(t, oneBroker(t))
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	c.writeFile("kproxy.yaml", strings.Replace(string(text), "9100-9109", fmt.Sprintf("10000-%d", 10000+ports-1), 1))
	if err := syscall.Kill(c.pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.want("configuration reloaded", 1)
	files := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before, began := files(), time.Now()
	c.upgraded()
	took := time.Since(began)
	if after := files(); after < ports || after > before+20 {
		t.Errorf("the new process has %d files, the old one had %d", after, before)
	}
	t.Logf("%d ports in %v, %d files", ports, took.Round(time.Millisecond), files())
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", c.host, 10000+ports-1)); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
}

// SIGTERM during a hand-over ends both processes.
func TestServeHandOverStopped(t *testing.T) {
	c := startChain(t, oneBroker(t))
	c.configure(silentBroker(t), "")
	result := make(chan error, 1)
	go func() {
		_, err := (&adminClient{}).upgradeAt(t.Context(), c.host+":9400", testToken)
		result <- err
	}()
	c.want("brokers remembered", 1)
	if err := errors.Join(syscall.Kill(c.pid, syscall.SIGTERM), syscall.Kill(c.pid, syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("got %v", err)
	}
	c.want("stopping soon", 1)
	_ = syscall.Kill(c.pid, syscall.SIGTERM) // without the delay
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		t.Error("a process is left")
	}
}

// Without the token, or by another method, there is no hand-over.
func TestServeHandOverRefused(t *testing.T) {
	c := startChain(t, oneBroker(t))
	if status, body := get(t, c.host+":9400", "/-/upgrade"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", status, body)
	}
	_, errs := runWith(t, exitFailed, "upgrade", "--admin", c.host+":9400")
	if !strings.Contains(errs, "wants a token") {
		t.Errorf("without the token: %s", errs)
	}
}

// upgradeAt is upgrade at an address.
func (a *adminClient) upgradeAt(ctx context.Context, address, token string) (int, error) {
	base, err := adminURL(address)
	if err != nil {
		return 0, err
	}
	a.base, a.token, a.client = base, token, &http.Client{}
	result, err := a.upgrade(ctx)
	if err != nil {
		return 0, err
	}
	return result.PID, nil
}

// The environment of the variable is not a key's.
func TestHandOverVariable(t *testing.T) {
	t.Setenv(handover.Variable, "7")
	if _, err := load(t, oneListener); err != nil {
		t.Error(err)
	}
}
