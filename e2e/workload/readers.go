//go:build linux

package workload

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/e2e/history"
)

const (
	readerAll       = "reader-all"
	readerCommitted = "reader-committed"
)

func (l *Load) startReaders() error {
	for name, committed := range map[string]bool{readerAll: false, readerCommitted: true} {
		client, err := l.assigned(name, committed)
		if err != nil {
			return err
		}
		l.readers.Go(func() {
			defer client.Close()
			for l.reading.Err() == nil {
				fetches := client.PollFetches(l.reading)
				fetches.EachPartition(func(p kgo.FetchTopicPartition) { l.has(name, l.polled(name, p)) })
			}
		})
	}
	return nil
}

// assigned is a reader of all partitions from their beginnings on.
func (l *Load) assigned(name string, committed bool, opts ...kgo.Opt) (*kgo.Client, error) {
	l.Recorder.Add(history.Event{Type: history.Join, Client: name, Committed: committed})
	from := map[int32]kgo.Offset{}
	for p := range l.Partitions {
		from[p] = kgo.NewOffset().At(0)
		l.Recorder.Add(history.Event{Type: history.Seek, Client: name, Partition: p})
	}
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return l.client(name, append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.Topic: from}))...)
}

// polled records one partition of a poll, and returns its records.
func (l *Load) polled(name string, p kgo.FetchTopicPartition) []*kgo.Record {
	records := p.Records
	if l.Tamper != nil {
		records = l.Tamper(name, records)
	}
	e := history.Event{Type: history.Poll, Client: name, Partition: p.Partition}
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		e.Offsets = append(e.Offsets, r.Offset)
		e.Numbers = append(e.Numbers, history.NumberOf(r.Value))
		e.Sums = append(e.Sums, history.Sum(r.Value))
	}
	if len(e.Offsets) > 0 {
		l.Recorder.Add(e)
	}
	return records
}

// Final reads the topic from its beginning to its end, with the records of aborted
// transactions and without. It is called after Stop. The names of the two readers begin
// with a name, such as that of the way that they take; opts are added to theirs.
func (l *Load) Final(ctx context.Context, name string, opts ...kgo.Opt) error {
	for suffix, committed := range map[string]bool{"-all": false, "-committed": true} {
		if err := l.final(ctx, name+suffix, committed, opts); err != nil {
			return fmt.Errorf("%s%s: %w", name, suffix, err)
		}
	}
	return nil
}

func (l *Load) final(ctx context.Context, name string, committed bool, opts []kgo.Opt) error {
	client, err := l.assigned(name, committed, append(opts, kgo.KeepControlRecords())...)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, l.Topic)
	if err != nil {
		return err
	}
	if err := ends.Error(); err != nil {
		return err
	}
	left := map[int32]int64{} // the end, by partition
	reached := func(p int32, next int64) {
		if end, ok := left[p]; ok && next >= end {
			delete(left, p)
			l.Recorder.Add(history.Event{Type: history.Final, Client: name, Partition: p, Offset: end})
		}
	}
	ends.Each(func(o kadm.ListedOffset) {
		left[o.Partition] = o.Offset
		reached(o.Partition, 0)
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("partitions that were not read to their ends: %v: %w", left, context.Cause(ctx))
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				l.polled(name, p)
				reached(p.Partition, p.Records[n-1].Offset+1) // a control record, too
			}
		})
	}
	return nil
}
