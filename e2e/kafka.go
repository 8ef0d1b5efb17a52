//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// brokerCount brokers have the ids 1 to brokerCount.
	brokerCount = 3
	// clusterID is what StorageTool wants: 16 bytes in URL-safe base64.
	clusterID = "a3Byb3h5LWUyZS10ZXN0cw"
	// startTimeout bounds the start of one broker or of all three: seconds on
	// an idle machine, minutes on one that compiles five other things.
	startTimeout = 4 * time.Minute
)

// cluster is a Kafka cluster of real brokers on this machine, as a VPC would
// show it: clients reach its listeners, and cannot resolve what these advertise.
type cluster struct {
	brokers    []*broker // by id, ascending
	clientBase int       // broker n's client listener is on port clientBase+n
	java       javaRuntime
	admin      *kadm.Client // by the listener of the brokers' peers, past kproxy
	adminConn  *kgo.Client
	topics     atomic.Int64 // how many topicName has named
}

// startCluster formats and starts the brokers and returns when all of them are
// in it. Their files are in dir; the end of ctx kills them. What it
// returns must be closed, also with an error.
func startCluster(ctx context.Context, dir string, java javaRuntime, ports *ports) (*cluster, error) {
	c := &cluster{java: java}
	var bases [3]int
	for i := range bases {
		base, err := ports.Block(ctx, "127.0.0.1")
		if err != nil {
			return c, err
		}
		bases[i] = base
	}
	c.clientBase = bases[0]
	var voters []string
	for id := 1; id <= brokerCount; id++ {
		b := &broker{
			id:         int32(id),
			advertised: fmt.Sprintf("broker-%d.vpc.invalid:9092", id),
			client:     hostPort("127.0.0.1", bases[0]+id),
			internal:   hostPort("127.0.0.1", bases[1]+id),
			controller: hostPort("127.0.0.1", bases[2]+id),
			dir:        filepath.Join(dir, fmt.Sprintf("broker-%d", id)),
			java:       java,
			scope:      ctx,
		}
		c.brokers = append(c.brokers, b)
		voters = append(voters, fmt.Sprintf("%d@%s", id, b.controller))
	}
	if err := c.each(func(b *broker) error { return b.Format(ctx, clusterID, strings.Join(voters, ",")) }); err != nil {
		return c, err
	}
	conn, err := kgo.NewClient(kgo.SeedBrokers(c.seeds()...))
	if err != nil {
		return c, err
	}
	c.adminConn, c.admin = conn, kadm.NewClient(conn)
	if err := c.each((*broker).Start); err != nil {
		return c, err
	}
	return c, c.waitWhole(ctx)
}

// each runs f for all brokers at once.
func (c *cluster) each(f func(*broker) error) error {
	errs := make([]error, len(c.brokers))
	var wg sync.WaitGroup
	for i, b := range c.brokers {
		wg.Go(func() { errs[i] = f(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// waitWhole waits until every broker sees every broker, and every partition
// with a leader and all its replicas in sync. Each broker is asked itself: what
// one knows, another may still learn, and one that was killed is believed to be
// alive until its session ends. A broker answers only after it has caught up
// with the news of its own restart.
func (c *cluster) waitWhole(ctx context.Context) error {
	return poll(ctx, startTimeout, func() error {
		for _, b := range c.brokers {
			if err := b.proc.Alive(); err != nil {
				return permanent(err)
			}
		}
		for _, b := range c.brokers {
			if err := c.seenWholeBy(ctx, b.id); err != nil {
				return fmt.Errorf("as broker %d sees it: %w", b.id, err)
			}
		}
		return nil
	})
}

func (c *cluster) seenWholeBy(ctx context.Context, id int32) error {
	req := kmsg.NewPtrMetadataRequest() // no topics: all of them
	resp, err := c.adminConn.Broker(int(id)).Request(ctx, req)
	if err != nil {
		return err
	}
	m := resp.(*kmsg.MetadataResponse)
	if len(m.Brokers) != brokerCount {
		return fmt.Errorf("%d of %d brokers are in the cluster", len(m.Brokers), brokerCount)
	}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				return fmt.Errorf("%s/%d: leader %d, in sync %v of %v", *t.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
			}
		}
	}
	return nil
}

// Close kills the brokers: nobody needs their data.
func (c *cluster) Close() {
	if c.adminConn != nil {
		c.adminConn.Close()
	}
	_ = c.each(func(b *broker) error {
		if b.proc != nil {
			b.proc.Kill()
		}
		return nil
	})
}

// Complaints is what the brokers warned of last.
func (c *cluster) Complaints() string {
	var out strings.Builder
	for _, b := range c.brokers {
		if b.proc != nil {
			fmt.Fprintf(&out, "broker %d complained:\n%s\n", b.id, b.proc.Complaints())
		}
	}
	return out.String()
}

// seeds are the addresses by which the tests themselves reach the brokers.
func (c *cluster) seeds() []string {
	var seeds []string
	for _, b := range c.brokers {
		seeds = append(seeds, b.internal)
	}
	return seeds
}

// Broker returns the broker with this id.
func (c *cluster) Broker(id int32) *broker { return c.brokers[id-1] }

// Restart ends a broker by its Stop or Kill, starts it again and waits until
// the cluster is whole.
func (c *cluster) Restart(t *testing.T, id int32, end func(*broker) error) {
	t.Helper()
	b := c.Broker(id)
	if err := end(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.waitWhole(t.Context()); err != nil {
		t.Fatal(err)
	}
}
