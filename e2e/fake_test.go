//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/netlab"
)

// TestLeaderMovesOnAFakeCluster is TestLeaderMovesUnderLoad on brokers that name
// themselves in leader hints of every flexible version, which Apache Kafka does
// in the newest only, and name all brokers in each.
func TestLeaderMovesOnAFakeCluster(t *testing.T) {
	const (
		topic      = "fake-moving"
		partitions = 6
	)
	duration := leaderMovesDuration(t)
	fake, way := startFake(t, topic, partitions)
	p := startKproxy(t, way)
	bob, fred, many := p.Via("bob"), p.Via("fred"), p.Via("many")

	franz, kcat := newSeen("franz-go"), newSeen("kcat")
	startFakeReader(t, many, topic, franz)
	startToolReader(t, kcat, func(ctx context.Context) *exec.Cmd {
		return kcatCommand(ctx, fred, "-C", "-u", "-q", "-t", topic, "-o", "beginning", "-f", "%p@%o@%s\n")
	})
	byFranz := startLoad(t, many, topic, "franz", 200, 8<<10)
	byKcat := startToolLoad(t, "kcat", 200, func(ctx context.Context) *exec.Cmd {
		return kcatCommand(ctx, bob, append([]string{"-P", "-t", topic}, settings("acks=all", "enable.idempotence=true")...)...)
	})
	for _, r := range []*seen{franz, kcat} {
		r.WaitFor(t, 30*time.Second, 1)
	}

	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	moved := 0
	var mover sync.WaitGroup
	mover.Go(func() { moved = shuffle(ctx, fake, 300*time.Millisecond) })
	mover.Wait()
	want := slices.Concat(byFranz.Stop(t), byKcat.Stop(t))
	for _, r := range []*seen{franz, kcat} {
		r.WaitForAll(t, time.Minute, topic, want)
		t.Logf("records: %d sent, %d read by %s", len(want), r.Total(), r.by)
	}
	t.Logf("every partition got another leader %d times in %v", moved, duration)
}

// startFakeReader reads the topic until the test ends. Under leaders that move franz-go
// takes kfake's epochs for lost records, with kproxy or without, and reads again from the
// beginning; that is no failure here, but a missing record at the end is.
func startFakeReader(t *testing.T, l listener, topic string, all *seen) {
	t.Helper()
	client := newClient(t, l, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic+"-franz"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			fetches.EachError(func(_ string, partition int32, err error) {
				_, lost := errors.AsType[*kgo.ErrDataLoss](err)
				if !lost && ctx.Err() == nil {
					t.Errorf("consume partition %d: %v", partition, err)
				}
			})
			fetches.EachRecord(func(r *kgo.Record) { all.Add(string(r.Value)) })
		}
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
}

// shuffle gives every partition a random leader at each interval until ctx ends.
func shuffle(ctx context.Context, fake *kfake.Cluster, interval time.Duration) (times int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fake.ShufflePartitionLeaders()
			times++
		case <-ctx.Done():
			return times
		}
	}
}

// startFake starts a fake cluster of brokers 1 to 3, which advertise names as
// the real ones do, and returns kproxy's route to them.
func startFake(t *testing.T, topic string, partitions int32) (*kfake.Cluster, route) {
	t.Helper()
	var way route
	listen := func(network, address string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), network, address)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("broker-%d.vpc.invalid:9092", len(way.Bootstrap))
		way.Bootstrap = append(way.Bootstrap, name)
		way.Dial = append(way.Dial, fmt.Sprintf("{match: %q, to: %q}", name, l.Addr()))
		return netlab.Named(l, name), nil
	}
	fake, err := kfake.NewCluster(
		kfake.NumBrokers(1+brokerCount), // from 0 up; the first is removed
		kfake.SeedTopics(partitions, topic),
		kfake.ListenFn(listen),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	if err := fake.RemoveNode(0); err != nil {
		t.Fatal(err)
	}
	way.Bootstrap, way.Dial = way.Bootstrap[1:], way.Dial[1:]
	return fake, way
}
