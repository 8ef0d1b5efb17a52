//go:build linux

package workload

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

// TestLoad has a fake cluster serve a load. It wants the history to be whole and clean.
func TestLoad(t *testing.T) {
	const topic, partitions = "load", 3
	fake, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	recorder := history.NewRecorder(0)
	l, err := Start(t.Context(), Config{
		Recorder: recorder, Topic: topic, Partitions: partitions, Rate: 1000, Churn: 200 * time.Millisecond, Tamper: NewTamper(),
		Client: func(string) []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(fake.ListenAddrs()...)} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Flows(t.Context(), 800); err != nil {
		t.Error(err)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Final(t.Context(), "final"); err != nil {
		t.Error(err)
	}
	r := history.Check(recorder.History())
	t.Logf("\n%s", r)
	if len(r.Findings) > 0 {
		t.Error("there are findings")
	}
	c := r.Counts
	for what, n := range map[string]int{
		"acknowledged": c.Acked, "failed": c.Failed, "committed": c.TxCommitted, "aborted": c.TxAborted,
		"rebalances": c.Rebalances, "commits": c.Commits, "fetches": c.Fetches,
	} {
		if n == 0 {
			t.Errorf("%s: got 0, want some", what)
		}
	}

	// Each hostile reader is found.
	for name, want := range Hostile {
		if err := l.Final(t.Context(), name); err != nil {
			t.Error(err)
		}
		for _, reader := range []string{name + "-all", name + "-committed"} {
			if r := history.Check(SeenBy(recorder.History(), reader)); !r.Has(want) {
				t.Errorf("%s: got no finding %v:\n%s", reader, want, r)
			}
		}
	}
}
