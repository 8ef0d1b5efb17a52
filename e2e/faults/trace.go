//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

// Clients of a trace.
const (
	traceProducer = "producer"
	traceConsumer = "consumer"
	traceAudit    = "audit"
)

// trace is the history of one load, for package history to check. A record's number in it
// is its own in the load.
type trace struct {
	*history.Recorder
	prefix string // of the records' names
}

func newTrace(prefix, group string) *trace {
	t := &trace{Recorder: history.NewRecorder(0), prefix: prefix}
	t.Add(history.Event{Type: history.Join, Client: traceProducer, Guarantee: history.Idempotent})
	t.Add(history.Event{Type: history.Join, Client: traceConsumer, Group: group})
	t.Add(history.Event{Type: history.Join, Client: traceAudit})
	return t
}

func (t *trace) send(number int, value string) {
	t.Add(history.Event{
		Type: history.Send, Client: traceProducer, Number: int64(number), Partition: history.AnyPartition, Sum: history.Sum([]byte(value)),
	})
}

// sent takes in a delivery. No error is a certain failure.
func (t *trace) sent(number int, r *kgo.Record, err error) {
	e := history.Event{Type: history.Sent, Client: traceProducer, Number: int64(number), Outcome: history.OK, Partition: r.Partition, Offset: max(r.Offset, history.NoOffset)}
	if err != nil {
		e = history.Event{Type: history.Sent, Client: traceProducer, Number: int64(number), Outcome: history.Unknown, Error: err.Error()}
	}
	t.Add(e)
}

// moved is a callback for the partitions that the consumer gets or loses.
func (t *trace) moved(how history.Type) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
		for _, partitions := range moved {
			t.Add(history.Event{Type: how, Client: traceConsumer, Partitions: partitions})
		}
	}
}

// groupOptions are those of the consumer: its rebalances are recorded between two polls.
func (t *trace) groupOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(t.moved(history.Assign)),
		kgo.OnPartitionsRevoked(t.moved(history.Revoke)), kgo.OnPartitionsLost(t.moved(history.Revoke)),
	}
}

func (t *trace) polled(client string, partition int32, records []*kgo.Record) {
	e := history.Event{Type: history.Poll, Client: client, Partition: partition}
	for _, r := range records {
		number := int64(history.NoNumber)
		if _, err := fmt.Sscanf(nameOf(r.Value), "r"+t.prefix+"%d", &number); err != nil {
			number = history.NoNumber
		}
		e.Offsets, e.Numbers, e.Sums = append(e.Offsets, r.Offset), append(e.Numbers, number), append(e.Sums, history.Sum(r.Value))
	}
	if len(records) > 0 {
		t.Add(e)
	}
}

// judge reads the topic at the brokers and checks the history, which it keeps if it has
// findings and the run's files are kept.
func (r *run) judge(ctx context.Context, t *trace, o *outcome) error {
	next := map[int32]int64{}
	for p := range int32(partitions) {
		next[p] = 0
		t.Add(history.Event{Type: history.Seek, Client: traceAudit, Partition: p})
	}
	err := r.readWhole(ctx, r.topic, func(rec *kgo.Record) {
		t.polled(traceAudit, rec.Partition, []*kgo.Record{rec})
		next[rec.Partition] = rec.Offset + 1
	})
	if err != nil {
		return err
	}
	for p, end := range next {
		t.Add(history.Event{Type: history.Final, Client: traceAudit, Partition: p, Offset: end})
	}
	h := t.History()
	report := history.Check(h)
	o.Findings = len(report.Findings)
	if o.Findings == 0 {
		return nil
	}
	first := report.Findings[0]
	o.Notes = append(o.Notes, fmt.Sprintf("history: %v: %v", first.Kind, first))
	r.progress("%s", report)
	file, err := os.Create(filepath.Join(r.dir, fmt.Sprintf("%s-%s.jsonl", r.topic, r.place)))
	if err != nil {
		return err
	}
	defer file.Close()
	return h.Write(file)
}
