package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"compatclients/internal/contract"
	"github.com/IBM/sarama"
)

func consumeConfig(o *contract.Options, instance string) (*sarama.Config, error) {
	c, err := config(o)
	if err != nil {
		return nil, err
	}
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.InstanceId = instance
	if o.Isolation == "committed" {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	if o.MaxBytes > 0 {
		c.Consumer.Fetch.Default = int32(o.MaxBytes)
		sarama.MaxResponseSize = int32(2 * o.MaxBytes)
	}
	return c, nil
}

// consume is one member. Sarama's Consume returns with every rebalance, and is
// called again.
func consume(ctx context.Context, o *contract.Options, instance string, each func([]byte)) error {
	c, err := consumeConfig(o, instance)
	if err != nil {
		return err
	}
	return runGroup(ctx, o, o.Topic, c, reader(each))
}

func runGroup(ctx context.Context, o *contract.Options, topic string, c *sarama.Config, h sarama.ConsumerGroupHandler) error {
	if err := ping(ctx, o); err != nil {
		return err
	}
	group, err := untilDone(ctx, func() (sarama.ConsumerGroup, error) {
		return sarama.NewConsumerGroup([]string{o.Bootstrap}, o.Group, c)
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := group.Consume(ctx, []string{topic}, h)
		switch {
		case ctx.Err() != nil, err == nil:
		case fatal(err):
			return errors.Join(err, group.Close())
		default:
			fmt.Fprintln(os.Stderr, "consume:", err)
			time.Sleep(tick)
		}
	}
	return group.Close()
}

// fatal reports whether joining again cannot mend an error.
func fatal(err error) bool {
	return errors.Is(err, sarama.ErrSASLAuthenticationFailed) ||
		errors.Is(err, sarama.ErrTopicAuthorizationFailed) ||
		errors.Is(err, sarama.ErrGroupAuthorizationFailed) ||
		errors.Is(err, sarama.ErrUnsupportedVersion)
}

// reader is called with every record, and commits it.
type reader func(value []byte)

// Setup is called when the member has joined.
func (reader) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called before the member commits and leaves.
func (reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads one partition until the session ends.
func (each reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			each(m.Value)
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
