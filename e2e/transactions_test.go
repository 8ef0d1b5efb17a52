//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTransactions commits and aborts by turns. The cluster runs transactions
// version 2, in which Produce itself adds a partition to the transaction: a
// proxy that hides the newer Produce versions breaks it.
func TestTransactions(t *testing.T) {
	const (
		transactions = 20
		records      = 25
	)
	topic := shared.kafka.NewTopic(t, "transactions", 6)
	p := startKproxy(t, shared.kafka.byAddress())
	var got answers
	producer := newClient(t, p.Via("alice"), kgo.DefaultProduceTopic(topic), kgo.TransactionalID("tx"), kgo.WithHooks(&got))

	var committed []string
	for n := range transactions {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		names := values(fmt.Sprintf("tx-%d", n), records)
		for _, name := range names {
			producer.Produce(t.Context(), kgo.StringRecord(name), func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce %s: %v", name, err)
				}
			})
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		how := kgo.TryAbort
		if n%2 == 0 {
			how = kgo.TryCommit
			committed = append(committed, names...)
		}
		if err := producer.EndTransaction(t.Context(), how); err != nil {
			t.Fatalf("end transaction %d, commit %v: %v", n, how, err)
		}
	}

	if n := got[kmsg.AddPartitionsToTxn].Load(); n != 0 {
		t.Errorf("AddPartitionsToTxn: got %d, want 0: this is not transactions version 2", n)
	}

	read := newSeen("a committed reader")
	startReader(t, p.Via("fred"), read, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	read.WaitForAll(t, 30*time.Second, topic, committed)
	read.NoDuplicates(t)
}

// TestConsumeTransformProduce is exactly-once from one topic to another: the
// group's offsets are committed within the producer's transaction.
func TestConsumeTransformProduce(t *testing.T) {
	from, to := shared.kafka.NewTopic(t, "eos-from", 3), shared.kafka.NewTopic(t, "eos-to", 3)
	p := startKproxy(t, shared.kafka.byAddress())
	l := p.Via("bob")
	want := values("eos", 2000)
	kcat(t, p.Via("many"), lines(want), "-P", "-t", from)

	g := newGate(t, l)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(l.Advertise), kgo.Dialer(g.Dial),
		kgo.ConsumerGroup(from), kgo.ConsumeTopics(from), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.TransactionalID("eos"), kgo.DefaultProduceTopic(to))
	if err != nil {
		t.Fatal(err)
	}
	defer session.CloseAllowingRebalance()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for moved := 0; moved < len(want); {
		fetches := session.PollRecords(ctx, 500)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d records: %v", moved, err)
		}
		if err := session.Begin(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, kgo.SliceRecord(r.Value), nil)
		})
		committed, err := session.End(ctx, kgo.TryCommit)
		if err != nil {
			t.Fatalf("after %d records: %v", moved, err)
		}
		if committed {
			moved += fetches.NumRecords()
		}
	}
	if got := g.Bypasses(); len(got) > 0 {
		t.Errorf("connections that bypassed kproxy: got %d, want 0: %v", len(got), got)
	}

	read := newSeen("a committed reader")
	startReader(t, p.Via("alice"), read, kgo.ConsumeTopics(to), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	read.WaitForAll(t, 30*time.Second, to, want)
	read.NoDuplicates(t)
}
