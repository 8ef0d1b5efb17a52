//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kproxy/e2e/lab"
)

const (
	// sharedRate is how many records a second each client sends while the cluster
	// changes: for sharedTime, longer than every change takes, or for briefTime.
	sharedRate = 30
	sharedTime = 45 * time.Second
	briefTime  = 15 * time.Second
	// sharedPartitions is of each client's topic.
	sharedPartitions = 3
)

// runShared lets all clients produce and consume at once, directly and through
// kproxy, so that the same change happens to both.
func (r *releaseRun) runShared(ctx context.Context, w *work, cells []*cell) error {
	type pair struct{ direct, proxied *trial }
	var pairs []pair
	var topics []string
	for _, c := range cells {
		direct, proxied := r.trials(c)
		for _, t := range []*trial{direct, proxied} {
			if err := r.cluster.NewTopic(ctx, sharedPartitions, nil, t.name); err != nil {
				return err
			}
			topics = append(topics, t.name)
		}
		pairs = append(pairs, pair{direct, proxied})
	}
	if err := r.cluster.WaitWhole(ctx); err != nil {
		return err
	}
	loaded := make(chan struct{})
	count := sharedRate * int(sharedTime/time.Second)
	if r.quick && w.brief {
		count = sharedRate * int(briefTime/time.Second)
	}
	changed := make(chan error, 1)
	go func() { changed <- w.change(ctx, r, topics, loaded) }()

	var wg sync.WaitGroup
	for i, c := range cells {
		wg.Go(func() { c.direct = pairs[i].direct.underChange(ctx, count) })
		wg.Go(func() { c.proxied = pairs[i].proxied.underChange(ctx, count) })
	}
	wg.Wait()
	close(loaded)
	if err := <-changed; err != nil {
		return err
	}
	for i, c := range cells {
		c.judge(pairs[i].direct, pairs[i].proxied)
		if c.outcome != failed || c.attempt == attempts {
			r.done(c)
		}
	}
	// The next change begins with an idle cluster, without these topics.
	if _, err := r.cluster.Admin.DeleteTopics(ctx, topics...); err != nil {
		return err
	}
	return r.cluster.WaitWhole(ctx)
}

// underChange produces and consumes at once.
func (t *trial) underChange(ctx context.Context, count int) result {
	consumer := *t // run is not for two goroutines
	var wg sync.WaitGroup
	var produced response
	var produceErr, consumeErr error
	wg.Go(func() {
		produced, produceErr = t.run(ctx, "produce", append(t.on(), "--acks", "all", "--prefix", t.name,
			"--count", fmt.Sprint(count), "--rate", fmt.Sprint(sharedRate), "--timeout", "120")...)
		if produceErr == nil && produced.Acked != count {
			produceErr = fmt.Errorf("produce: %d of %d acknowledged", produced.Acked, count)
		}
	})
	wg.Go(func() { consumeErr = consumer.consume(ctx, t.on(), count, "--timeout", "140") })
	wg.Wait()
	return result{err: errors.Join(produceErr, consumeErr), version: produced.Version, notes: consumer.notes}
}

// moveLeaders gives partitions other leaders, repeatedly.
func moveLeaders(ctx context.Context, r *releaseRun, topics []string, loaded <-chan struct{}) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	changes := 0
	for round := int32(0); ; round++ {
		select {
		case <-loaded:
			if changes == 0 {
				return errors.New("no leader has moved")
			}
			return nil
		case <-tick.C:
		}
		topic := topics[int(round)%len(topics)]
		order := make(map[int32][]int32)
		for p := range int32(sharedPartitions) {
			first := round/int32(len(topics)) + p + 1
			order[p] = []int32{1 + first%clusterSize, 1 + (first+1)%clusterSize, 1 + (first+2)%clusterSize}
		}
		changed, err := r.cluster.Assign(ctx, topic, order)
		if err != nil {
			return err
		}
		changes += changed
	}
}

// rollingRestart restarts one broker after the other, once.
func rollingRestart(ctx context.Context, r *releaseRun, _ []string, _ <-chan struct{}) error {
	for id := int32(1); id <= clusterSize; id++ {
		if err := r.cluster.Restart(ctx, id, (*lab.Broker).Stop); err != nil {
			return fmt.Errorf("broker %d: %w", id, err)
		}
	}
	return nil
}

// comeAndGo adds a broker, gives it leaders, takes them away, and removes it.
func comeAndGo(ctx context.Context, r *releaseRun, topics []string, _ <-chan struct{}) error {
	added, err := r.cluster.Grow(ctx)
	if err != nil {
		return err
	}
	for _, ids := range [][]int32{{added.ID, 1, 2}, {1, 2, 3}} {
		if err := r.cluster.Lead(ctx, ids, topics...); err != nil {
			return err
		}
	}
	return r.cluster.Remove(ctx, added)
}
