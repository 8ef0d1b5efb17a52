//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// TestDrainDeliversAnswersInFlight stops kproxy while it owes two responses: to a long
// poll, and to a produce whose acknowledgement waits for a follower that does not move.
// Both must arrive, no new connection may be accepted, and kproxy must then end with exit
// code 0.
func TestDrainDeliversAnswersInFlight(t *testing.T) {
	const wait = 4 * time.Second // of the long poll: longer than all that comes before SIGTERM
	k := shared.kafka
	polled, produced := k.NewTopic(t, "polled", 1), k.NewTopic(t, "produced", 1)
	p := startKproxy(t, k.byAddress())
	l := p.Via("bob")

	poll := startLongPoll(t, k, newClient(t, l), polled, wait)
	// A second attempt would be refused, so the first one must succeed.
	producer := newClient(t, l, kgo.DefaultProduceTopic(produced), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	// The first record makes the client ask for the leader, to which the broker that is
	// paused next could not respond.
	if err := producer.ProduceSync(t.Context(), kgo.StringRecord("before")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	leader, follower := k.leaderAndFollower(t, produced)
	before := k.logSize(t, leader, produced)
	resume := pause(t, follower)
	acked := make(chan error, 1)
	producer.Produce(t.Context(), kgo.StringRecord("in flight"), func(_ *kgo.Record, err error) { acked <- err })
	eventually(t, 10*time.Second, func() error {
		if k.logSize(t, leader, produced) == before {
			return errors.New("the leader has not got the record")
		}
		return nil
	})

	if err := p.proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitRefused(t, l.Advertise)
	select {
	case err := <-acked:
		t.Fatalf("the produce was answered (%v) before its follower could have acknowledged it", err)
	default:
	}
	resume()

	if err := <-acked; err != nil {
		t.Errorf("the produce in flight: %v", err)
	}
	if err := <-poll; err != nil {
		t.Errorf("the long poll in flight: %v", err)
	}
	if err := p.proc.Wait(drainTimeout); err != nil {
		t.Error(err)
	}
}

// startLongPoll sends one Fetch of an empty partition and returns when it has
// been written. The result is sent on the channel.
func startLongPoll(t *testing.T, k *cluster, client *kgo.Client, topic string, wait time.Duration) <-chan error {
	t.Helper()
	topics, err := k.Admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, topics[topic].ID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes = 1 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)

	leader, _ := k.leaderAndFollower(t, topic)
	done := make(chan error, 1)
	go func() { // ends with the response or with the client
		resp, err := req.RequestWith(t.Context(), client.Broker(int(leader.ID)))
		switch {
		case err != nil:
		case resp.ErrorCode != 0:
			err = kerr.ErrorForCode(resp.ErrorCode)
		case len(resp.Topics) == 1 && resp.Topics[0].Partitions[0].ErrorCode != 0:
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		done <- err
	}()
	return done
}

// leaderAndFollower are two of the brokers of a topic's only partition.
func (c *cluster) leaderAndFollower(t *testing.T, topic string) (leader, follower *lab.Broker) {
	t.Helper()
	topics, err := c.Admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	id := topics[topic].Partitions[0].Leader
	return c.Broker(id), c.Broker(id%brokerCount + 1)
}

// pause stops a broker, with its connections open, until resume. The cluster must not
// notice it, so the pause must be shorter than a second or two.
func pause(t *testing.T, b *lab.Broker) (resume func()) {
	t.Helper()
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	resume = func() {
		if err := b.Resume(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(resume)
	return resume
}

// logSize is how many bytes of a topic's only partition a broker has on its disk,
// whether or not consumers may read them yet.
func (c *cluster) logSize(t *testing.T, b *lab.Broker, topic string) int64 {
	t.Helper()
	var topics kadm.TopicsSet
	topics.Add(topic, 0)
	dirs, err := c.Admin.DescribeBrokerLogDirs(t.Context(), b.ID, topics)
	if err != nil {
		t.Fatal(err)
	}
	return dirs.Size()
}

// waitRefused waits until the address refuses connections.
func waitRefused(t *testing.T, address string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("want the connection refused: %w", err)
		}
		conn.Close()
		return fmt.Errorf("%s still accepts connections", address)
	})
}
