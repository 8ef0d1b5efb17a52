//go:build e2e && linux

package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/workload"
	"kproxy/internal/kfakelab"
)

const topic, partitions = "packages", 3

// load is a load through kproxy, whose history is judged.
type load struct {
	*workload.Load

	recorder *history.Recorder
	mu       sync.Mutex
	refused  []string
}

// dial is the dialer of the load's clients. It goes to kproxy alone, and keeps failures.
func (l *load) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || host != "localhost" {
		l.fails(address, errors.New("this is no address of kproxy"))
		return nil, net.ErrClosed
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil && ctx.Err() == nil {
		l.fails(address, err)
	}
	return conn, err
}

func (l *load) fails(address string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, fmt.Sprintf("%s: %v", address, err))
}

func startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{recorder: history.NewRecorder(0)}
	var err error
	l.Load, err = workload.Start(t.Context(), workload.Config{
		Recorder: l.recorder, Topic: topic, Partitions: partitions, Tamper: workload.NewTamper(),
		Client: func(string) []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(l.dial)} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *load) flows(t *testing.T) {
	t.Helper()
	if err := l.Flows(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
}

// nothingLost ends the load, and wants a history without findings and no refused connection.
func (l *load) nothingLost(t *testing.T) {
	t.Helper()
	if err := errors.Join(l.Stop(t.Context()), l.Final(t.Context(), "final")); err != nil {
		t.Fatal(err)
	}
	r := history.Check(l.recorder.History())
	t.Logf("\n%s", r)
	if len(r.Findings) > 0 || r.Counts.Acked == 0 {
		t.Error("there are findings, or no records")
	}
	for _, text := range l.refused {
		t.Errorf("a connection failed: %s", text)
	}
}

// TestDeb goes the way of a user: install, write the brokers' address, start, upgrade under load,
// remove, purge. Triggers are left out: man-db's reads every manual page of the machine.
func TestDeb(t *testing.T) { overEach(t, testDeb) }

func testDeb(t *testing.T, r *root) {
	t.Helper()
	r.withSystemctl(t)
	old, next := r.put(t, packageOf(t, older, "deb")), r.put(t, packageOf(t, newer, "deb"))

	if got := r.run(t, "dpkg", "--no-triggers", "-i", old); !strings.Contains(got, "write your brokers into /etc/kproxy/kproxy.yaml") {
		t.Errorf("the first installation says:\n%s", got)
	}
	r.installed(t)
	brokers := kfakelab.Start(t, 3, kfakelab.Real, kfake.SeedTopics(partitions, topic))
	r.edit(t, "kafka.example.com:9092", strings.Join(brokers.At, ", "))

	s := startService(t, r)
	l := startLoad(t)
	l.flows(t)
	s.ready(t)

	r.upgrade(t, s, next)
	l.flows(t)
	r.upgradeFails(t, s, old)
	l.flows(t)
	l.nothingLost(t)

	last := s.pid()
	r.run(t, "dpkg", "--no-triggers", "-r", "kproxy")
	gone(t, last)
	for name, want := range map[string]bool{"/usr/bin/kproxy": false, "/usr/lib/systemd/system/kproxy.service": false, "/etc/kproxy/kproxy.yaml": true} {
		if _, err := os.Stat(r.path(name)); (err == nil) != want {
			t.Errorf("after the removal, %s: got %v", name, err)
		}
	}
	r.write(t, "/etc/kproxy/token", []byte("secret"), 0o600)
	r.run(t, "dpkg", "--no-triggers", "--purge", "kproxy")
	if got := r.left(t); len(got) > 0 {
		t.Errorf("the purge leaves %q", got)
	}
	r.unchanged(t)
}

// installed looks at a fresh installation.
func (r *root) installed(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{
		"/usr/bin/kproxy": "755 root root", "/etc/kproxy": "750 root kproxy", "/etc/kproxy/kproxy.yaml": "640 root kproxy",
		"/var/lib/kproxy": "700 kproxy kproxy", "/usr/lib/systemd/system/kproxy.service": "644 root root", "/usr/lib/systemd/system/kproxy.socket": "644 root root",
		"/usr/lib/sysusers.d/kproxy.conf": "644 root root", "/usr/share/bash-completion/completions/kproxy": "644 root root",
		"/usr/share/kproxy": "755 root root", "/usr/share/kproxy/prometheus/kproxy.rules.yaml": "644 root root",
		"/usr/share/kproxy/grafana/kproxy-fleet.json": "644 root root", "/usr/share/kproxy/grafana/kproxy-cluster.json": "644 root root",
	} {
		if got := strings.TrimSpace(r.run(t, "stat", "--format=%a %U %G", name)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	r.run(t, "setpriv", "--reuid=kproxy", "--regid=kproxy", "--clear-groups", "kproxy", "check", "--config", "/etc/kproxy/kproxy.yaml")
	r.run(t, "bash", "-n", "/usr/share/bash-completion/completions/kproxy")
	if got := r.run(t, "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/kproxy.service", "/usr/lib/systemd/system/kproxy.socket"); strings.Contains(got, "kproxy") {
		t.Errorf("systemd-analyze verify: %s", got)
	}
	if got := r.run(t, "kproxy", "version"); !strings.HasPrefix(got, "kproxy v"+older+"\n") {
		t.Errorf("version: got %s", got)
	}
}

// edit changes a text of the sample configuration.
func (r *root) edit(t *testing.T, text, to string) {
	t.Helper()
	name := "/etc/kproxy/kproxy.yaml"
	content, err := os.ReadFile(r.path(name))
	if err != nil || !strings.Contains(string(content), text) {
		t.Fatalf("%s has no %s: %v", name, text, err)
	}
	if err := os.WriteFile(r.path(name), []byte(strings.ReplaceAll(string(content), text, to)), 0o640); err != nil {
		t.Fatal(err)
	}
}

// upgrade installs a newer package. The process of its program takes over, and the old one ends.
func (r *root) upgrade(t *testing.T, s *service, file string) {
	t.Helper()
	before := s.pid()
	got := r.run(t, "dpkg", "--no-triggers", "-i", file)
	after := s.pid()
	if want := fmt.Sprintf("process %d has taken over from process %d", after, before); before == after || !strings.Contains(got, want) {
		t.Fatalf("want %s, got:\n%s", want, got)
	}
	gone(t, before)
	program, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", after))
	if err != nil || !bytes.Contains(program, []byte("v"+newer)) || bytes.Contains(program, []byte("v"+older)) {
		t.Errorf("the new process is not of the new program: %v", err)
	}
	if calls := r.calls(t); strings.Contains(calls, "disable") || strings.Contains(calls, "stop") {
		t.Errorf("the upgrade asked systemctl for\n%s", calls)
	}
}

// upgradeFails installs a package whose program cannot take over. The installation succeeds, and the
// process goes on.
func (r *root) upgradeFails(t *testing.T, s *service, file string) {
	t.Helper()
	r.write(t, "/usr/local/bin/sleep", []byte("#!/bin/sh\nexec /bin/sleep 0.05\n"), 0o755)
	r.edit(t, "listeners:", "lsteners:")
	before := s.pid()
	if got := r.run(t, "dpkg", "--no-triggers", "-i", file); !strings.Contains(got, "the old process goes on") {
		t.Errorf("got\n%s", got)
	}
	if s.pid() != before {
		t.Error("another process serves")
	}
	r.edit(t, "lsteners:", "listeners:")
}
