package proxy_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kfakelab"
)

// startKfake starts a fake cluster of n brokers on the lab's vpc.
func (l *lab) startKfake(t *testing.T, n int, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return kfakelab.StartOn(t, n, func(node int) (net.Listener, error) {
		return l.vpc.ListenAs(context.Background(), brokerName(node))
	}, opts...)
}

// franz returns a franz-go client that bootstraps at address and reaches
// nothing but the proxy. At the end of the test it has tried nothing else.
func (l *lab) franz(t *testing.T, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append(opts, kgo.SeedBrokers(address), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			return l.outside.Dial(ctx, network, host)
		}))
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if n := l.outside.Refused(); n > 0 {
			t.Errorf("clients dialled %d addresses that are not the proxy's", n)
		}
	})
	return c
}

func kmsgMetadata(ctx context.Context, c *kgo.Client) (*kmsg.MetadataResponse, error) {
	return kmsg.NewPtrMetadataRequest().RequestWith(ctx, c)
}

func TestClientsHearTheirOwnListener(t *testing.T) {
	needsPlainTCP(t)
	var l lab
	l.startKfake(t, 3, kfake.SeedTopics(3, "t"))
	l.start(t, l.config())
	for address, want := range map[string][]string{
		"bob.test:9092":   {"bob.test:9100", "bob.test:9101", "bob.test:9102"},
		"localhost:39092": {"localhost:39100", "localhost:39101", "localhost:39102"},
	} {
		c := l.franz(t, address)
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		resp, err := kmsgMetadata(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range resp.Brokers {
			got = append(got, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("at %s: got %v, want %v", address, got, want)
		}
	}
}

func TestGroupReadsEverythingWhileLeadersMove(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	t.Run("over TCP", func(t *testing.T) {
		t.Parallel()
		var l lab
		groupReadsEverything(t, &l)
	})
	t.Run("in memory", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var l lab
			l.inMemory()
			groupReadsEverything(t, &l)
		})
	})
}

func groupReadsEverything(t *testing.T, l *lab) {
	t.Helper()
	const records = 3000
	fake := l.startKfake(t, 3, kfake.SeedTopics(6, "t"))
	l.start(t, l.config())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var running sync.WaitGroup
	t.Cleanup(func() { // before the clients and the cluster are closed
		cancel()
		running.Wait()
	})
	producer := l.franz(t, "bob.test:9092", kgo.DefaultProduceTopic("t"))
	consumer := l.franz(t, "localhost:39092", kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"),
		kgo.FetchMaxWait(200*time.Millisecond))
	running.Go(func() { moveLeaders(ctx, fake) })
	running.Go(func() {
		for i := range records {
			producer.Produce(ctx, kgo.StringRecord(strconv.Itoa(i)), func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
	})
	seen := map[string]bool{}
	for len(seen) < records {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d records", len(seen), records)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
}

// moveLeaders gives partitions other leaders until ctx ends.
func moveLeaders(ctx context.Context, fake *kfake.Cluster) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fake.ShufflePartitionLeaders()
		case <-ctx.Done():
			return
		}
	}
}
