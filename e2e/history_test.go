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

// TestNothingIsLost has the load of package workload go through kproxy, and directly, while a
// broker is restarted and connections are cut. Its history must be without findings.
func TestNothingIsLost(t *testing.T) {
	const partitions = 3
	for _, way := range []string{"direct", "kproxy"} {
		t.Run(way, func(t *testing.T) {
			topic := shared.kafka.NewTopic(t, "history-"+way, partitions)
			open := &cutter{}
			options, bootstrap := open.direct, shared.kafka.Seeds()[0]
			if way == "kproxy" {
				l := startKproxy(t, shared.kafka.byAddress()).Via("many")
				options, bootstrap = open.through(t, l), l.Advertise
			}
			recorder := history.NewRecorder(0)
			l, err := workload.Start(t.Context(), workload.Config{
				Recorder: recorder, Topic: topic, Partitions: partitions, Client: options, Tamper: workload.NewTamper(),
			})
			if err != nil {
				t.Fatal(err)
			}
			java, err := l.StartJava(t.Context(), workload.JavaConfig{
				Java: shared.java, Release: shared.kafka.Release, Dir: t.TempDir(), Bootstrap: bootstrap,
			})
			if err != nil {
				t.Fatal(err)
			}
			flow := func(n int) {
				t.Helper()
				if err := errors.Join(l.Flows(t.Context(), n), java.Flows(t.Context(), n)); err != nil {
					t.Error(err)
				}
			}
			flow(300)
			for _, client := range []string{"idempotent", "transactional", "member-1"} {
				if open.Cut(client) == 0 {
					t.Errorf("%s had no connection to cut", client)
				}
			}
			flow(300)
			shared.kafka.Restart(t, 2, (*lab.Broker).Stop)
			flow(300)
			if err := errors.Join(java.Stop(t.Context()), l.Stop(t.Context())); err != nil {
				t.Error(err)
			}
			judge(t, l, recorder, topic)
		})
	}
}

// judge reads the topic by the load's way and at the brokers, and wants no findings. Then it
// has readers that spoil what they get, and wants to find that.
func judge(t *testing.T, l *workload.Load, recorder *history.Recorder, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Final(ctx, "final"); err != nil {
		t.Error(err)
	}
	if err := l.Final(ctx, "brokers", kgo.SeedBrokers(shared.kafka.Seeds()...), kgo.Dialer((&net.Dialer{}).DialContext)); err != nil {
		t.Error(err)
	}
	h := recorder.History()
	r := history.Check(h)
	t.Logf("\n%s", r)
	if len(r.Findings) > 0 {
		keep(t, h, topic)
		t.Errorf("findings: got %d, want none", len(r.Findings))
	}
	c := r.Counts
	for what, n := range map[string]int{
		"acknowledged": c.Acked, "failed": c.Failed, "transactions committed": c.TxCommitted, "transactions aborted": c.TxAborted,
		"rebalances": c.Rebalances, "commits": c.Commits, "fetches of commits": c.Fetches,
	} {
		if n == 0 {
			t.Errorf("%s: got 0, want some", what)
		}
	}
	for name, want := range workload.Hostile {
		if err := l.Final(ctx, name); err != nil {
			t.Error(err)
		}
		for _, reader := range []string{name + "-all", name + "-committed"} {
			if r := history.Check(workload.SeenBy(recorder.History(), reader)); !r.Has(want) {
				t.Errorf("%s: got no finding %v:\n%s", reader, want, r)
			}
		}
	}
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
