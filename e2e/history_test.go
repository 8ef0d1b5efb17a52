//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
	"kproxy/e2e/workload"
)

// TestNothingIsLost has the load of package workload go through kproxy, and at the same time
// directly, while connections are cut and a broker is restarted. Their histories must be
// without findings.
func TestNothingIsLost(t *testing.T) {
	classes := t.TempDir()
	if err := workload.CompileJava(t.Context(), shared.kafka.Release, classes); err != nil {
		t.Fatal(err)
	}
	var direct, through cutter
	l := startKproxy(t, shared.kafka.byAddress()).Via("many")
	traces := []*trace{
		startTrace(t, "direct", &direct, direct.direct, shared.kafka.Seeds()[0], classes),
		startTrace(t, "kproxy", &through, through.through(t, l), l.Advertise, classes),
	}
	flow := func() {
		for _, r := range traces {
			if err := errors.Join(r.load.Flows(t.Context(), 300), r.java.Flows(t.Context(), 300)); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		}
	}
	flow()
	for _, r := range traces {
		for _, client := range []string{"idempotent", "transactional", "member-1"} {
			if r.open.Cut(client) == 0 {
				t.Errorf("%s: %s had no connection to cut", r.name, client)
			}
		}
	}
	flow()
	shared.kafka.Restart(t, 2, (*lab.Broker).Stop)
	flow()
	for _, r := range traces {
		if err := errors.Join(r.java.Stop(t.Context()), r.load.Stop(t.Context())); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	for _, r := range traces {
		t.Run(r.name, r.judge)
	}
}

// trace is a load on a topic of its own, and its history.
type trace struct {
	name     string
	topic    string
	open     *cutter
	recorder *history.Recorder
	load     *workload.Load
	java     *workload.Java
}

func startTrace(t *testing.T, name string, open *cutter, options func(string) []kgo.Opt, bootstrap, classes string) *trace {
	t.Helper()
	return startTraceAt(t, 0, name, open, options, workload.JavaConfig{Bootstrap: bootstrap, Classes: classes})
}

// startTraceAt is startTrace with the rate of each producer, and with more of the Java program's configuration.
func startTraceAt(t *testing.T, rate int, name string, open *cutter, options func(string) []kgo.Opt, java workload.JavaConfig) *trace {
	t.Helper()
	const partitions = 3
	r := &trace{name: name, topic: shared.kafka.NewTopic(t, "history-"+name, partitions), open: open, recorder: history.NewRecorder(2 * history.DefaultLimit)}
	var err error
	if r.load, err = workload.Start(t.Context(), workload.Config{
		Recorder: r.recorder, Topic: r.topic, Partitions: partitions, Client: options, Tamper: workload.NewTamper(), Rate: rate,
	}); err != nil {
		t.Fatal(err)
	}
	java.Java, java.Release, java.Log = shared.java, shared.kafka.Release, filepath.Join(shared.dir, r.topic+"-java.log")
	if r.java, err = r.load.StartJava(t.Context(), java); err != nil {
		t.Fatal(err)
	}
	return r
}

// judge reads the topic by the load's way and at the brokers, and wants no findings. Then it
// has readers that spoil their records, and wants each to be found.
func (r *trace) judge(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, c := r.check(ctx, t)
	for what, n := range map[string]int{
		"acknowledged": c.Acked, "failed": c.Failed, "transactions committed": c.TxCommitted, "transactions aborted": c.TxAborted,
		"rebalances": c.Rebalances, "commits": c.Commits, "fetches of commits": c.Fetches,
	} {
		if n == 0 {
			t.Errorf("%s: got 0, want some", what)
		}
	}
	for name, want := range workload.Hostile {
		if err := r.load.Final(ctx, name); err != nil {
			t.Error(err)
		}
		for _, reader := range []string{name + "-all", name + "-committed"} {
			if report := history.Check(workload.SeenBy(r.recorder.History(), reader)); !report.Has(want) {
				t.Errorf("%s: got no finding %v:\n%s", reader, want, report)
			}
		}
	}
}

// check reads the topic by the load's way and at the brokers, and wants no findings.
func (r *trace) check(ctx context.Context, t *testing.T) (history.History, history.Counts) {
	t.Helper()
	if err := r.load.Final(ctx, "final"); err != nil {
		t.Error(err)
	}
	if err := r.load.Final(ctx, "brokers", kgo.SeedBrokers(shared.kafka.Seeds()...), kgo.Dialer((&net.Dialer{}).DialContext)); err != nil {
		t.Error(err)
	}
	h := r.recorder.History()
	report := history.Check(h)
	t.Logf("\n%s", report)
	if len(report.Findings) > 0 {
		keep(t, h, r.topic)
		t.Errorf("findings: got %d, want none", len(report.Findings))
	}
	return h, report.Counts
}

// keep writes a history that has findings to a file.
func keep(t *testing.T, h history.History, name string) {
	t.Helper()
	file, err := os.Create(filepath.Join(shared.dir, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := h.Write(file); err != nil {
		t.Fatal(err)
	}
	t.Logf("the history is %s; E2E_DIR keeps it", file.Name())
}

// cutter knows the connections of each client, and can cut them.
type cutter struct {
	mu   sync.Mutex
	open map[string][]net.Conn
}

// direct are the options of a client of the brokers themselves.
func (c *cutter) direct(name string) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(shared.kafka.Seeds()...), kgo.Dialer(c.dialer(name, (&net.Dialer{}).DialContext))}
}

// through are the options of the clients of a listener.
func (c *cutter) through(t *testing.T, l listener) func(string) []kgo.Opt {
	t.Helper()
	g := newGate(t, l)
	t.Cleanup(func() {
		if got := g.Bypasses(); len(got) > 0 {
			t.Errorf("connections that bypassed kproxy: got %d, want 0: %v", len(got), got)
		}
	})
	return func(name string) []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(l.Advertise), kgo.Dialer(c.dialer(name, g.Dial))}
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (c *cutter) dialer(name string, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.open == nil {
				c.open = map[string][]net.Conn{}
			}
			c.open[name] = append(c.open[name], conn)
		}
		return conn, err
	}
}

// Cut resets the connections of a client, whatever is under way on them, and returns their
// number.
func (c *cutter) Cut(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open[name] {
		tcp, ok := conn.(*net.TCPConn)
		if scanned, wrapped := conn.(*scannedConn); wrapped {
			tcp, ok = scanned.Conn.(*net.TCPConn)
		}
		if ok && tcp.SetLinger(0) == nil && tcp.Close() == nil {
			n++
		}
	}
	c.open[name] = nil
	return n
}
