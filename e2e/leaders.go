//go:build e2e

package e2e

import (
	"context"
	"sync"
	"testing"
	"time"
)

// leaderMoves moves the leaders of a topic between the brokers: it puts another replica
// first, then requests the election of preferred leaders. It uses the brokers' own
// listener, not kproxy.
//
// Each round moves every second partition, so that a response which says "this
// partition's leader is elsewhere" also carries the records of one that stayed.
type leaderMoves struct {
	t          *testing.T
	cluster    *cluster
	topic      string
	partitions int32

	cancel context.CancelFunc
	done   sync.WaitGroup
	moved  int // elections that gave a partition another leader; read it after Stop
}

// MoveLeaders moves leaders every interval until Stop or the end of the test.
func (c *cluster) MoveLeaders(t *testing.T, topic string, partitions int32, interval time.Duration) *leaderMoves {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &leaderMoves{t: t, cluster: c, topic: topic, partitions: partitions, cancel: cancel}
	m.done.Go(func() { m.run(ctx, interval) })
	t.Cleanup(func() { m.Stop() })
	return m
}

// run ends with its context.
func (m *leaderMoves) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for round := int32(0); ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.move(ctx, round); err != nil && ctx.Err() == nil {
			m.t.Errorf("move the leaders of %s: %v", m.topic, err)
			return
		}
	}
}

func (m *leaderMoves) move(ctx context.Context, round int32) error {
	order := make(map[int32][]int32)
	for p := round % 2; p < m.partitions; p += 2 {
		first := round/2 + p
		order[p] = []int32{1 + first%brokerCount, 1 + (first+1)%brokerCount, 1 + (first+2)%brokerCount}
	}
	changed, err := m.cluster.Assign(ctx, m.topic, order)
	m.moved += changed
	return err
}

// Stop ends the moves and returns how many leaders changed.
func (m *leaderMoves) Stop() int {
	m.cancel()
	m.done.Wait()
	return m.moved
}
