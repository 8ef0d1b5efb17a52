//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/hostport"
)

// cluster is a real cluster, in which the suite creates and removes topics.
type cluster struct {
	client  *kgo.Client
	admin   *kadm.Client
	brokers []string // as they are advertised
	about   string
	topics  []string
}

const (
	mostBrokers = 9 // a target has a block of ports for them
	// preloaded is the size of a topic for consumers, in bytes: so large that a turn
	// seldom reaches its end, and small enough for the page cache.
	preloaded = 64 * mib
)

func openCluster(ctx context.Context, seeds []string) (*cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ClientID(clientID),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(4*mib))
	if err != nil {
		return nil, err
	}
	c := &cluster{client: client, admin: kadm.NewClient(client)}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	meta, err := c.admin.BrokerMetadata(ctx)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("the cluster at %v: %w", seeds, err)
	}
	for _, b := range meta.Brokers {
		c.brokers = append(c.brokers, hostport.Join(b.Host, b.Port))
	}
	if n := len(c.brokers); n == 0 || n > mostBrokers {
		client.Close()
		return nil, fmt.Errorf("the cluster has %d brokers; the suite can be in front of 1 to %d", n, mostBrokers)
	}
	c.about = fmt.Sprintf("a real cluster of %d brokers, through franz-go", len(c.brokers))
	return c, nil
}

// topic makes one for a workload, with records if it is to be fetched from.
func (c *cluster) topic(ctx context.Context, w workload, filled bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	name := clusterID + "-" + w.Name + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	limit := strconv.Itoa(4 * mib)
	created, err := c.admin.CreateTopic(ctx, int32(len(c.brokers)), -1, map[string]*string{"max.message.bytes": &limit}, name)
	if err := errors.Join(err, created.Err); err != nil {
		return "", fmt.Errorf("create topic %s: %w", name, err)
	}
	c.topics = append(c.topics, name)
	if !filled {
		return name, nil
	}
	value := make([]byte, max(1, w.Bytes-batchOverhead))
	var failed error
	for range preloaded / max(w.Bytes, 16*kib) {
		c.client.Produce(ctx, &kgo.Record{Topic: name, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // promises run one after the other
			}
		})
	}
	err = c.client.Flush(ctx)
	return name, errors.Join(err, failed)
}

// close removes the topics. Their names say whose they are, if that fails.
func (c *cluster) close() error {
	if c == nil {
		return nil
	}
	defer c.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	if len(c.topics) == 0 {
		return nil
	}
	answers, err := c.admin.DeleteTopics(ctx, c.topics...)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		err = fmt.Errorf("remove the topics %s: %w", strings.Join(c.topics, ", "), err)
	}
	return err
}
