package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"compatclients/internal/contract"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func admin(ctx context.Context, o *contract.Options, r *contract.Result) error {
	client, err := newClient(ctx, o)
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	s := contract.NewSteps(ctx, r)
	s.Do("create_topic", func() (string, error) {
		_, err := adm.CreateTopic(ctx, 3, int16(o.Replication), nil, o.Topic)
		return "", err
	})
	topicSteps(ctx, s, adm, o)
	groupSteps(ctx, s, adm, o)
	s.Look("metadata_quorum", func() (string, error) { return quorum(ctx, client) })
	s.Do("delete_topic", func() (string, error) {
		_, err := adm.DeleteTopic(ctx, o.Topic)
		return "", err
	})
	return s.Err()
}

func topicSteps(ctx context.Context, s *contract.Steps, adm *kadm.Client, o *contract.Options) {
	s.Look("describe_topic", func() (string, error) { return partitions(ctx, adm, o.Topic, 3) })
	s.Look("describe_cluster", func() (string, error) {
		m, err := adm.BrokerMetadata(ctx)
		return fmt.Sprintf("%d brokers, controller %d", len(m.Brokers), m.Controller), err
	})
	s.Do("alter_config", func() (string, error) {
		resps, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("7200000")}}, o.Topic)
		if err != nil {
			return "", err
		}
		return "", resps[0].Err
	})
	s.Look("describe_configs", func() (string, error) {
		resps, err := adm.DescribeTopicConfigs(ctx, o.Topic)
		if err != nil {
			return "", err
		}
		for _, c := range resps[0].Configs {
			if c.Key == "retention.ms" && c.MaybeValue() == "7200000" {
				return "", nil
			}
		}
		return "", fmt.Errorf("retention.ms has another value than was set: %w", errors.Join(resps[0].Err))
	})
	s.Do("add_partitions", func() (string, error) {
		resps, err := adm.UpdatePartitions(ctx, 5, o.Topic)
		if err != nil {
			return "", err
		}
		return "", resps.Error()
	})
	s.Look("added_partitions", func() (string, error) { return partitions(ctx, adm, o.Topic, 5) })
	s.Look("list_topics", func() (string, error) {
		topics, err := adm.ListTopics(ctx)
		if err == nil && !topics.Has(o.Topic) {
			err = errors.New("the topic is not among them")
		}
		return fmt.Sprint(len(topics)), err
	})
}

func partitions(ctx context.Context, adm *kadm.Client, topic string, want int) (string, error) {
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return "", err
	}
	if got := len(topics[topic].Partitions); got != want {
		return "", fmt.Errorf("got %d partitions, want %d: %w", got, want, errors.Join(topics[topic].Err))
	}
	return fmt.Sprintf("%d partitions", want), nil
}

func groupSteps(ctx context.Context, s *contract.Steps, adm *kadm.Client, o *contract.Options) {
	var group string
	s.Look("list_groups", func() (string, error) {
		groups, err := adm.ListGroups(ctx)
		if err != nil {
			return "", err
		}
		group = contract.PickGroup(o, groups.Groups())
		return fmt.Sprint(len(groups)), nil
	})
	if group == "" {
		s.NoGroup()
		return
	}
	s.Look("describe_group", func() (string, error) {
		groups, err := adm.DescribeGroups(ctx, group)
		if err == nil {
			err = groups.Error()
		}
		if errors.Is(err, kerr.GroupIDNotFound) { // a group of the newer protocol
			newer, err := adm.DescribeConsumerGroups(ctx, group)
			if err == nil {
				err = newer.Error()
			}
			return newer[group].State, err
		}
		return groups[group].State, err
	})
}

// quorum asks for the metadata quorum, for which kadm has no method.
func quorum(ctx context.Context, client *kgo.Client) (string, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, client)
	if err != nil && strings.Contains(err.Error(), "broker is too old") { // kgo does not export this error
		return "", contract.NotOffered("the broker has no quorum: " + err.Error())
	}
	if err == nil {
		err = coded(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return "", err
	}
	var voters []int32
	for _, v := range resp.Topics[0].Partitions[0].CurrentVoters {
		voters = append(voters, v.ReplicaID)
	}
	slices.Sort(voters)
	return fmt.Sprintf("voters %v, %d nodes", voters, len(resp.Nodes)), nil
}

// coded is an error with the broker's own message.
func coded(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil {
		return fmt.Errorf("%w: %s", err, *message)
	}
	return err
}

func token(ctx context.Context, o *contract.Options, r *contract.Result) error {
	client, err := newClient(ctx, o)
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	s := contract.NewSteps(ctx, r)
	var hmac []byte
	if !s.Do("create_token", func() (string, error) {
		token, err := adm.CreateDelegationToken(ctx, kadm.CreateDelegationToken{MaxLifetime: time.Hour})
		hmac = token.HMAC
		return token.Owner.Name, err
	}) {
		return s.Err()
	}
	s.Look("describe_tokens", func() (string, error) {
		tokens, err := adm.DescribeDelegationTokens(ctx)
		if err == nil && len(tokens) == 0 {
			err = errors.New("there are none")
		}
		return fmt.Sprint(len(tokens)), err
	})
	s.Look("renew_token", func() (string, error) {
		_, err := adm.RenewDelegationToken(ctx, hmac, time.Hour)
		return "", err
	})
	s.Do("expire_token", func() (string, error) {
		_, err := adm.ExpireDelegationToken(ctx, hmac, -1*time.Millisecond)
		return "", err
	})
	return s.Err()
}
