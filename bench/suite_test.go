//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kproxy/e2e/lab"
	"kproxy/internal/portlab"
)

// The suite starts its own binary for its parts; in a test that is the test's.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"broker", "relay", "load", "janitor"}, os.Args[1]) {
		main()
		return
	}
	os.Exit(m.Run()) //nolint:forbidigo // as TestMain does it
}

type smokeRow struct {
	Target   string   `json:"target"`
	Workload string   `json:"workload"`
	MBPerS   *float64 `json:"mb_per_s"`
	P99      *float64 `json:"p99_us"`
	Idle     *float64 `json:"kib_per_idle_conn"`
	CPU      *float64 `json:"cpu_s_per_gb"`
	Notes    []string `json:"notes"`
}

// smokes runs the suite until check accepts its rows.
func smokes(t *testing.T, check func(rows []smokeRow) (complaint string), args ...string) {
	t.Helper()
	untilMeasured(t, 150*time.Millisecond, func(d time.Duration) string {
		rows, err := smoke(t, append(slices.Clone(args), "--duration="+d.String())...)
		if err != nil {
			return err.Error()
		}
		return check(rows)
	})
}

// smoke runs the suite, and returns its rows. The suite fails where a round has no
// figures.
func smoke(t *testing.T, args ...string) ([]smokeRow, error) {
	t.Helper()
	dir := t.TempDir()
	file, page := filepath.Join(dir, "rows.json"), filepath.Join(dir, "page.html")
	var out strings.Builder
	args = append(args, "--rounds=1", "--warmup=20ms", "--idle=50ms", "--json="+file, "--html="+page)
	if err := execute(t.Context(), args, &out, io.Discard); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out.String())
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows []smokeRow `json:"rows"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	return got.Rows, nil
}

func TestSmoke(t *testing.T) {
	smokes(t, func(rows []smokeRow) string {
		if len(rows) != 2*3 {
			t.Fatalf("got %d rows", len(rows))
		}
		for _, r := range rows {
			right := r.hasFigures()
			if r.Workload == "idle-1000" {
				right = (r.Idle != nil) == (r.Target == "iocopy")
			}
			if !right {
				return fmt.Sprintf("got %+v", r)
			}
		}
		return ""
	}, "--targets=direct,iocopy", "--workloads=produce-4KiB,fetch-v17-1MiB,idle-1000")
}

// hasFigures reports whether a row has those of a target that carries bytes.
func (r smokeRow) hasFigures() bool {
	return r.MBPerS != nil && *r.MBPerS > 0 && r.P99 != nil && (r.CPU != nil) == (r.Target == "iocopy")
}

func TestSmokeTLS(t *testing.T) {
	smokes(t, func(rows []smokeRow) string {
		if len(rows) != 3*3 {
			t.Fatalf("got %d rows", len(rows))
		}
		for _, r := range rows {
			right := r.hasFigures()
			if r.Target == "haproxy-splice" {
				right = r.MBPerS == nil && len(r.Notes) == 1
			}
			if !right {
				return fmt.Sprintf("got %+v", r)
			}
		}
		return ""
	}, "--targets=direct,haproxy-splice,iocopy", "--workloads=tls-*-fetch-v17-64KiB")
}

// A proxy that is running already takes part by its address and its processes.
func TestSmokeUserTarget(t *testing.T) {
	host := portlab.Host(t)
	broker, proxy := lab.HostPort(host, 9092), lab.HostPort(host, 9093)
	go func() { _ = serveConns(t.Context(), proxy, relay{}.to(t.Context(), broker)) }()
	smokes(t, func(rows []smokeRow) string {
		if len(rows) != 2 || rows[1].Target != "mine" || rows[1].CPU == nil || *rows[1].CPU <= 0 {
			return fmt.Sprintf("got %+v", rows)
		}
		return ""
	}, "--targets=mine", "--workloads=produce-4KiB", "--broker-listen="+broker, fmt.Sprintf("--target=mine=%s,pid=%d", proxy, os.Getpid()))
}

// A real cluster, with franz-go as the client; blind proxies have an endpoint for
// each of its brokers.
func TestSmokeRealCluster(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	smokes(t, func(rows []smokeRow) string {
		if len(rows) == 0 {
			return "nothing was measured"
		}
		for _, r := range rows {
			if r.MBPerS == nil || *r.MBPerS <= 0 {
				return fmt.Sprintf("got %+v", r)
			}
		}
		return ""
	}, "--targets=direct,iocopy", "--workloads=produce-4KiB,fetch-v11-64KiB,churn", "--brokers="+strings.Join(cluster.ListenAddrs(), ","))
}

// The suite leaves nothing behind, however it ends.
func TestNothingIsLeft(t *testing.T) {
	for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			// t.TempDir is below a directory that the suite's unprivileged children
			// cannot enter.
			tmp, err := os.MkdirTemp("", "kpb-test-") //nolint:usetesting // see above
			if err == nil {
				err = os.Chmod(tmp, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(tmp)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run=^TestEndless$")
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, endless+"=1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			var made string
			eventually(t, func() bool {
				// The relay's log says that targets are running.
				logs, _ := filepath.Glob(filepath.Join(tmp, dirPrefix+"*", "iocopy.log"))
				if len(logs) == 1 {
					made = filepath.Dir(logs[0])
				}
				return made != "" && len(processesOf(made)) >= 3
			})
			if err := cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was ended
			eventually(t, func() bool {
				_, err := os.Stat(made)
				return errors.Is(err, os.ErrNotExist) && len(processesOf(made)) == 0
			})
		})
	}
}

const endless = "KPROXY_BENCH_ENDLESS"

// TestEndless is a suite that is ended from outside, by TestNothingIsLeft.
func TestEndless(t *testing.T) {
	if os.Getenv(endless) == "" {
		t.Skip("run by TestNothingIsLeft")
	}
	os.Args = []string{os.Args[0], "--targets=direct,iocopy", "--workloads=produce-256B", "--duration=1m"}
	main()
}

// processesOf are the processes whose binary is in a directory.
func processesOf(dir string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, dir) {
			found = append(found, link)
		}
	}
	return found
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it has not happened")
		}
	}
}

// In a workload of seven targets, no target always follows the same one.
func TestOrder(t *testing.T) {
	const targets, rounds = 7, 5
	before := make([]map[int]bool, targets)
	for i := range before {
		before[i] = map[int]bool{}
	}
	for turn := range 2 * rounds {
		round := turn / 2
		turns := order("produce-4KiB", float64(turn%2), round, targets)
		if got := slices.Sorted(slices.Values(turns)); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6}) {
			t.Fatalf("round %d: %v", round, turns)
		}
		for i, target := range turns[1:] {
			before[target][turns[i]] = true
		}
	}
	for target, others := range before {
		if len(others) < 2 {
			t.Errorf("%d always comes after the same one: %v", target, others)
		}
	}
	if slices.Equal(order("a", 0, 0, targets), order("a", 1, 0, targets)) && slices.Equal(order("a", 0, 0, targets), order("b", 0, 0, targets)) {
		t.Error("each load and workload has the same order")
	}
}

// The targets can read the files made for them. A folder of the user's stays as it is.
func TestOpenDir(t *testing.T) {
	for _, ours := range []bool{true, false} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := openDir(dir, ours); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if open := info.Mode().Perm() == 0o755; open != ours {
			t.Errorf("ours %t: %v", ours, info.Mode())
		}
	}
}

// A run checks that it can write its files before it begins.
func TestUnwritableReport(t *testing.T) {
	var out, errs bytes.Buffer
	err := execute(t.Context(), []string{"--quick", "--html", filepath.Join(t.TempDir(), "x.html"), "--json", filepath.Join(t.TempDir(), "none", "x.json")}, &out, &errs)
	if !errors.Is(err, os.ErrNotExist) || out.Len() > 0 {
		t.Errorf("got %v\n%s", err, out.String())
	}
}
