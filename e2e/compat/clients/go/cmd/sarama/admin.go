package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"compatclients/internal/contract"
	"github.com/IBM/sarama"
)

func admin(ctx context.Context, o *contract.Options, r *contract.Result) error {
	if err := ping(ctx, o); err != nil {
		return err
	}
	c, err := config(o)
	if err != nil {
		return err
	}
	adm, err := untilDone(ctx, func() (sarama.ClusterAdmin, error) {
		return sarama.NewClusterAdmin([]string{o.Bootstrap}, c)
	})
	if err != nil {
		return err
	}
	defer adm.Close()
	s := contract.NewSteps(ctx, r)
	s.Do("create_topic", func() (string, error) {
		detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: int16(o.Replication)}
		return "", adm.CreateTopic(o.Topic, detail, false)
	})
	topicSteps(s, adm, o)
	groupSteps(s, adm, o)
	s.NotOffered("metadata_quorum", "no DescribeQuorum")
	s.Do("delete_topic", func() (string, error) { return "", adm.DeleteTopic(o.Topic) })
	return s.Err()
}

func topicSteps(s *contract.Steps, adm sarama.ClusterAdmin, o *contract.Options) {
	s.Look("describe_topic", func() (string, error) { return partitions(adm, o.Topic, 3) })
	s.Look("describe_cluster", func() (string, error) {
		brokers, controller, err := adm.DescribeCluster()
		return fmt.Sprintf("%d brokers, controller %d", len(brokers), controller), err
	})
	s.Do("alter_config", func() (string, error) {
		value := "7200000"
		return "", adm.AlterConfig(sarama.TopicResource, o.Topic, map[string]*string{"retention.ms": &value}, false)
	})
	s.Look("describe_configs", func() (string, error) {
		entries, err := adm.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: o.Topic})
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if e.Name == "retention.ms" && e.Value == "7200000" {
				return "", nil
			}
		}
		return "", errors.New("retention.ms has another value than was set")
	})
	s.Do("add_partitions", func() (string, error) { return "", adm.CreatePartitions(o.Topic, 5, nil, false) })
	s.Look("added_partitions", func() (string, error) { return partitions(adm, o.Topic, 5) })
	s.Look("list_topics", func() (string, error) {
		topics, err := adm.ListTopics()
		if _, there := topics[o.Topic]; err == nil && !there {
			err = errors.New("the topic is not among them")
		}
		return fmt.Sprint(len(topics)), err
	})
}

func partitions(adm sarama.ClusterAdmin, topic string, want int) (string, error) {
	topics, err := adm.DescribeTopics([]string{topic})
	if err != nil {
		return "", err
	}
	if got := len(topics[0].Partitions); got != want {
		return "", fmt.Errorf("got %d partitions, want %d: %w", got, want, topics[0].Err)
	}
	return fmt.Sprintf("%d partitions", want), nil
}

func groupSteps(s *contract.Steps, adm sarama.ClusterAdmin, o *contract.Options) {
	var group string
	s.Look("list_groups", func() (string, error) {
		groups, err := adm.ListConsumerGroups()
		group = contract.PickGroup(o, slices.Collect(maps.Keys(groups)))
		return fmt.Sprint(len(groups)), err
	})
	if group == "" {
		s.NoGroup()
		return
	}
	s.Look("describe_group", func() (string, error) {
		groups, err := adm.DescribeConsumerGroups([]string{group})
		if err != nil {
			return "", err
		}
		if groups[0].Err != sarama.ErrNoError {
			return "", groups[0].Err
		}
		return groups[0].State, nil
	})
}
