package main

import (
	"context"
	"errors"
	"fmt"

	"compatclients/internal/contract"
	"github.com/segmentio/kafka-go"
)

func admin(ctx context.Context, o *contract.Options, r *contract.Result) error {
	client, _, err := newClient(ctx, o)
	if err != nil {
		return err
	}
	s := contract.NewSteps(ctx, r)
	s.Do("create_topic", func() (string, error) {
		resp, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: o.Topic, NumPartitions: 3, ReplicationFactor: o.Replication}},
		})
		if err != nil {
			return "", err
		}
		return "", resp.Errors[o.Topic]
	})
	topicSteps(ctx, s, client, o)
	groupSteps(ctx, s, client, o)
	s.NotOffered("metadata_quorum", "no DescribeQuorum")
	s.Do("delete_topic", func() (string, error) {
		resp, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{o.Topic}})
		if err != nil {
			return "", err
		}
		return "", resp.Errors[o.Topic]
	})
	return s.Err()
}

func topicSteps(ctx context.Context, s *contract.Steps, client *kafka.Client, o *contract.Options) {
	s.Look("describe_topic", func() (string, error) { return partitions(ctx, client, o.Topic, 3) })
	s.Look("describe_cluster", func() (string, error) {
		m, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d brokers, controller %d", len(m.Brokers), m.Controller.ID), nil
	})
	s.Do("alter_config", func() (string, error) {
		resp, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: o.Topic,
				Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "7200000"}},
			}},
		})
		if err != nil {
			return "", err
		}
		return "", resp.Resources[0].Error
	})
	s.Look("describe_configs", func() (string, error) {
		resp, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: o.Topic}},
		})
		if err != nil {
			return "", err
		}
		for _, e := range resp.Resources[0].ConfigEntries {
			if e.ConfigName == "retention.ms" && e.ConfigValue == "7200000" {
				return "", nil
			}
		}
		return "", errors.Join(errors.New("retention.ms has another value than was set"), resp.Resources[0].Error)
	})
	s.Do("add_partitions", func() (string, error) {
		resp, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: o.Topic, Count: 5}},
		})
		if err != nil {
			return "", err
		}
		return "", resp.Errors[o.Topic]
	})
	s.Look("added_partitions", func() (string, error) { return partitions(ctx, client, o.Topic, 5) })
	s.Look("list_topics", func() (string, error) {
		m, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return "", err
		}
		for _, t := range m.Topics {
			if t.Name == o.Topic {
				return fmt.Sprint(len(m.Topics)), nil
			}
		}
		return "", errors.New("the topic is not among them")
	})
}

func partitions(ctx context.Context, client *kafka.Client, topic string, want int) (string, error) {
	m, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return "", err
	}
	if len(m.Topics) != 1 || len(m.Topics[0].Partitions) != want {
		return "", fmt.Errorf("got %+v, want %d partitions", m.Topics, want)
	}
	return fmt.Sprintf("%d partitions", want), nil
}

func groupSteps(ctx context.Context, s *contract.Steps, client *kafka.Client, o *contract.Options) {
	var group string
	s.Look("list_groups", func() (string, error) {
		resp, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return "", err
		}
		var groups []string
		for _, g := range resp.Groups {
			groups = append(groups, g.GroupID)
		}
		group = contract.PickGroup(o, groups)
		return fmt.Sprint(len(groups)), resp.Error
	})
	if group == "" {
		s.NoGroup()
		return
	}
	s.Look("describe_group", func() (string, error) {
		resp, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return "", err
		}
		return resp.Groups[0].GroupState, resp.Groups[0].Error
	})
}
