//go:build linux

package workload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/history"
)

const (
	sessionTimeout = 6 * time.Second
	commitEach     = 3 // polls that returned records: the others are read again after a rebalance
	commitTimeout  = 5 * time.Second
	watchEach      = 100 * time.Millisecond
)

func (l *Load) startGroup() error {
	first, err := l.join("member-1")
	if err != nil {
		return err
	}
	l.readers.Go(func() { first.run(l.reading) })
	l.readers.Go(l.churn)
	return l.startWatch(l.group, "watch")
}

// startWatch has a client with a name read a group's committed offsets.
func (l *Load) startWatch(group, name string) error {
	client, err := l.client(name)
	if err != nil {
		return err
	}
	l.readers.Go(func() {
		defer client.Close()
		l.watch(kadm.NewClient(client), group, name)
	})
	return nil
}

// churn has a second member join and leave, until the producers stop. A member that stays
// too briefly gets partitions only as it leaves, so the first has to read the rest alone.
func (l *Load) churn() {
	for n := 1; l.producing.Err() == nil; n++ {
		m, err := l.join(fmt.Sprintf("member-2.%d", n))
		if err != nil {
			l.broken("member-2", err)
			return
		}
		ctx, cancel := context.WithTimeout(l.producing, l.Churn)
		m.run(ctx)
		cancel()
		select {
		case <-l.producing.Done():
		case <-time.After(l.Churn / 2): // the first member is alone
		}
	}
}

// member is a member of the group.
type member struct {
	load   *Load
	name   string
	client *kgo.Client
	ops    atomic.Int64
	polls  int
	next   map[int32]kgo.EpochOffset // the offsets to commit
}

func (l *Load) join(name string) (*member, error) {
	m := &member{load: l, name: name, next: map[int32]kgo.EpochOffset{}}
	l.Recorder.Add(history.Event{Type: history.Join, Client: name, Group: l.group, Committed: true})
	var err error
	m.client, err = l.client(name,
		kgo.ConsumerGroup(l.group), kgo.ConsumeTopics(l.Topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(m.moved(history.Assign)), kgo.OnPartitionsRevoked(m.moved(history.Revoke)), kgo.OnPartitionsLost(m.moved(history.Revoke)))
	return m, err
}

// moved records that the member gets or loses partitions. franz-go calls it between two
// polls, and fetches the group's offsets after it.
func (m *member) moved(how history.Type) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
		partitions := moved[m.load.Topic]
		if len(partitions) == 0 {
			return
		}
		for _, p := range partitions {
			delete(m.next, p)
		}
		m.load.Recorder.Add(history.Event{Type: how, Client: m.name, Partitions: partitions})
	}
}

// run reads until ctx ends, and leaves the group.
func (m *member) run(ctx context.Context) {
	defer m.client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := m.client.PollRecords(ctx, 500)
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			records := m.load.polled(m.name, p)
			m.load.has(groupReader, records)
			if n := len(records); n > 0 {
				m.next[p.Partition] = kgo.EpochOffset{Epoch: records[n-1].LeaderEpoch, Offset: records[n-1].Offset + 1}
			}
		})
		if fetches.NumRecords() > 0 {
			if m.polls++; m.polls%commitEach == 0 {
				m.commit(ctx)
			}
		}
		m.client.AllowRebalance()
	}
}

// commit commits the offsets of the records that were read. franz-go sends the request again after some errors, so a
// commit that failed may have happened: no error is a certain failure.
func (m *member) commit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	ops := map[int32]int64{}
	for p, at := range m.next {
		ops[p] = m.ops.Add(1)
		m.load.Recorder.Add(history.Event{Type: history.Commit, Client: m.name, Group: m.load.group, Partition: p, Offset: at.Offset, Op: ops[p]})
	}
	failed := map[int32]error{}
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.load.Topic: m.next},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			for p := range ops {
				failed[p] = errors.New("the response does not name the partition")
				if err != nil {
					failed[p] = err
				}
			}
			if err != nil {
				return
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					failed[p.Partition] = kerr.ErrorForCode(p.ErrorCode)
				}
			}
		})
	for p, op := range ops {
		e := history.Event{Type: history.Committed, Client: m.name, Op: op, Outcome: history.OK}
		if err := failed[p]; err != nil {
			e.Outcome, e.Error = history.Unknown, err.Error()
		}
		m.load.Recorder.Add(e)
	}
	clear(m.next)
}

// watch reads a group's committed offsets until the readers stop.
func (l *Load) watch(admin *kadm.Client, group, name string) {
	tick := time.NewTicker(watchEach)
	defer tick.Stop()
	for op := int64(1); ; {
		select {
		case <-l.reading.Done():
			return
		case <-tick.C:
		}
		first := op
		for p := range l.Partitions {
			l.Recorder.Add(history.Event{Type: history.Fetch, Client: name, Group: group, Partition: p, Op: op})
			op++
		}
		offsets, err := admin.FetchOffsets(l.reading, group)
		for p := range l.Partitions {
			e := history.Event{Type: history.Fetched, Client: name, Op: first + int64(p), Outcome: history.OK, Offset: history.NoOffset}
			failed := err
			if at, ok := offsets.Lookup(l.Topic, p); ok {
				e.Offset, failed = at.At, errors.Join(err, at.Err)
			}
			if failed != nil {
				e.Outcome, e.Offset, e.Error = history.Unknown, 0, failed.Error()
			}
			l.Recorder.Add(e)
		}
	}
}
