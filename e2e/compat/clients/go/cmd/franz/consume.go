package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"compatclients/internal/contract"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaving is the time for a member to commit and to leave.
const leaving = 4 * time.Second

func consumeOpts(o *contract.Options, instance string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumeTopics(o.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}
	if o.Isolation == "committed" {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if o.Rack != "" {
		opts = append(opts, kgo.Rack(o.Rack))
	}
	if o.MaxBytes > 0 {
		n := int32(o.MaxBytes)
		opts = append(opts, kgo.BrokerMaxReadBytes(2*n), kgo.FetchMaxBytes(n), kgo.FetchMaxPartitionBytes(n))
	}
	if o.Protocol == "share" {
		return append(opts, kgo.ShareGroup(o.Group))
	}
	opts = append(opts, kgo.ConsumerGroup(o.Group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	if o.Protocol == "consumer" {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	if instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	return opts
}

// consume is one member, which commits all that it has read before it polls again: no
// record is read twice because a member left.
func consume(ctx context.Context, o *contract.Options, instance string, each func([]byte)) error {
	client, err := newClient(ctx, o, consumeOpts(o, instance)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if o.Protocol == "share" {
		if err := shareFromTheStart(ctx, client, o.Group); err != nil {
			return err
		}
		return share(ctx, client, each)
	}
	if o.Protocol == "consumer" {
		if err := newerGroups(ctx, client); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if err := fatal(fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) { each(r.Value) })
		within, cancel := whileLeaving(ctx)
		if err := client.CommitUncommittedOffsets(within); err != nil {
			fmt.Fprintln(os.Stderr, "commit:", err) // costs duplicates, which are counted
		}
		cancel()
		client.AllowRebalance()
	}
	return nil
}

// whileLeaving lets the last commit of a member end.
func whileLeaving(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), leaving)
}

// fatal reports whether reading again cannot mend an error. franz-go only reports the
// other errors: it joins again, or asks again, by itself.
func fatal(fetches kgo.Fetches) error {
	var errs []error
	fetches.EachError(func(topic string, partition int32, err error) {
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedVersion),
			errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
			errs = append(errs, err)
		default:
			fmt.Fprintln(os.Stderr, "fetch:", topic, partition, err)
		}
	})
	return errors.Join(errs...)
}

// share reads with a share group (KIP-932), and acknowledges each poll's
// records before the next.
func share(ctx context.Context, client *kgo.Client, each func([]byte)) error {
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if err := fatal(fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			each(r.Value)
			r.Ack(kgo.AckAccept)
		})
		within, cancel := whileLeaving(ctx)
		if err := client.FlushAcks(within); err != nil {
			fmt.Fprintln(os.Stderr, "acknowledge:", err)
		}
		cancel()
	}
	return nil
}

// newerGroups fails for a broker without KIP-848, for which franz-go would silently use
// the classic protocol.
func newerGroups(ctx context.Context, client *kgo.Client) error {
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, key := range versions.ApiKeys {
		if key.ApiKey == kmsg.ConsumerGroupHeartbeat.Int16() && key.MaxVersion >= 1 {
			return nil
		}
	}
	return errors.New("the broker does not offer ConsumerGroupHeartbeat v1")
}

// shareFromTheStart makes a new share group begin where other groups do; the broker would
// begin at the end.
func shareFromTheStart(ctx context.Context, client *kgo.Client, group string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kadm.ConfigResourceGroupConfig, group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", kmsg.StringPtr("earliest")
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		if err := coded(r.ErrorCode, r.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}
