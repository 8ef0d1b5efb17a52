//go:build e2e

// Package systemd tests the units of configs/systemd with systemd's own programs, and socket
// activation. There is no systemd that runs.
package systemd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/lab"
	"kproxy/internal/portlab"
)

var kproxy string // the program

func TestMain(m *testing.M) { os.Exit(run(m)) } //nolint:forbidigo // this is main

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kproxy-systemd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if kproxy, err = lab.BuildKproxy(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := lab.Tool(name, "systemd's "+name+" (Debian: apt-get install systemd)")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// units copies the units to a directory of their own, with the path of the program that is there.
func units(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../configs/systemd")); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(dir, "kproxy.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "/usr/local/bin/kproxy", kproxy, 1)
	if changed == string(text) {
		t.Fatal("the unit does not start /usr/local/bin/kproxy")
	}
	if err := os.WriteFile(unit, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// systemd finds nothing to say about the units. Its exit code is 0 also if it does.
func TestUnits(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir := units(t)
	// Type=notify-reload is that of systemd 253.
	version, err := exec.CommandContext(t.Context(), analyze, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`systemd (\d+)`).FindSubmatch(version)
	if number == nil {
		t.Fatalf("got %s", version)
	}
	if n, _ := strconv.Atoi(string(number[1])); n < 253 {
		if err := os.RemoveAll(filepath.Join(dir, "kproxy.service.d")); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, "kproxy.service"), filepath.Join(dir, "kproxy.socket")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", filepath.Join(dir, "kproxy.service")).CombinedOutput()
	exposure := regexp.MustCompile(`Overall exposure level for kproxy\.service: ([0-9.]+)`).FindSubmatch(out)
	if err != nil || exposure == nil {
		t.Fatalf("security: %v\n%s", err, out)
	}
	if level, err := strconv.ParseFloat(string(exposure[1]), 64); err != nil || level >= 2 {
		t.Errorf("exposure: got %s, want less than 2.0\n%s", exposure[1], out)
	}
	t.Logf("%s: exposure %s", strings.TrimSpace(string(number[0])), exposure[1])
}

// The verifier finds a line that is wrong: TestUnits can fail.
func TestVerifierFinds(t *testing.T) {
	unit := filepath.Join(units(t), "kproxy.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unit, append(text, "\n[Service]\nWatchdogSec=soon\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(t.Context(), tool(t, "systemd-analyze"), "verify", "--man=no", unit).CombinedOutput()
	if !strings.Contains(string(out), "Failed to parse sec value") {
		t.Errorf("got %q", out)
	}
}

// systemd binds the bootstrap port, one node's, and the admin server's; kproxy binds the rest. The
// connection that has it started is served.
func TestSocketActivation(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	host, dir := portlab.Host(t), t.TempDir()
	config := filepath.Join(dir, "kproxy.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
clusters: {orders: {bootstrap: [%s], listeners: {fred: {bind: "%s:9092", nodes: {ports: 9100-9101}}}}}
admin: {bind: "%[2]s:9400"}
`, strings.Join(brokers.ListenAddrs(), ", "), host), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "systemd-socket-activate"),
		"--listen="+host+":9092", "--listen="+host+":9100", "--listen="+host+":9400", "--listen="+host+":9999",
		"--fdname=bootstrap:node:admin:useless", kproxy, "serve", "--config", config)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("kproxy ended with %v", err)
		}
	}()
	log := bufio.NewScanner(r)
	want := func(text string) {
		t.Helper()
		for log.Scan() {
			if strings.Contains(log.Text(), text) {
				return
			}
		}
		t.Fatalf("the log has no line %q", text)
	}
	want("Listening on " + host + ":9999")
	client, err := kgo.NewClient(kgo.SeedBrokers(host+":9092"), kgo.DefaultProduceTopic("t"), kgo.Dialer((&net.Dialer{}).DialContext))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	want("listening sockets are closed that the configuration does not have")
	want("msg=serving")
	if got := listening(t, cmd.Process.Pid); len(got) != 4 {
		t.Errorf("kproxy listens %d times: %v", len(got), got)
	}
	if conn, err := new(net.Dialer).DialContext(ctx, "tcp", host+":9999"); err == nil {
		_ = conn.Close()
		t.Error("the useless socket is open")
	}
}

// listening returns the local addresses of the sockets of a process that listen, as the kernel has
// them.
func listening(t *testing.T, pid int) (all []string) {
	t.Helper()
	const listen = "0A"
	inodes := map[string]string{}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[3] == listen {
			inodes["socket:["+fields[9]+"]"] = fields[1]
		}
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && inodes[to] != "" {
			all = append(all, inodes[to])
		}
	}
	return all
}
