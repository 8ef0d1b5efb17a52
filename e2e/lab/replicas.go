//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// NewTopic makes a topic and waits until every client can use it: every broker
// knows of it, and every leader serves its partitions.
func (c *Cluster) NewTopic(ctx context.Context, partitions int32, configs map[string]*string, topic string) error {
	if _, err := c.Admin.CreateTopic(ctx, partitions, int16(len(c.Brokers)), configs, topic); err != nil {
		return err
	}
	return Poll(ctx, startTimeout, func() error {
		for _, b := range c.Brokers {
			if err := c.topicSeenBy(ctx, b.ID, topic, int(partitions)); err != nil {
				return fmt.Errorf("as broker %d sees it: %w", b.ID, err)
			}
		}
		return c.leadersRespond(ctx, topic)
	})
}

// leadersRespond wants every partition's leader to know that it leads.
func (c *Cluster) leadersRespond(ctx context.Context, topics ...string) error {
	offsets, err := c.Admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	return offsets.Error()
}

func (c *Cluster) topicSeenBy(ctx context.Context, id int32, topic string, partitions int) error {
	m, err := topicMetadata(ctx, c.Conn.Broker(int(id)), topic)
	if err != nil {
		return err
	}
	if len(m.Partitions) != partitions {
		return fmt.Errorf("%s has %d partitions of %d", topic, len(m.Partitions), partitions)
	}
	return whole(topic, m.Partitions)
}

// topicMetadata is a broker's Metadata of a topic.
func topicMetadata(ctx context.Context, broker kmsg.Requestor, topic string) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, broker)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	return resp.Topics[0], nil
}

// whole wants every partition with a leader and all its replicas in sync.
func whole(topic string, partitions []kmsg.MetadataResponseTopicPartition) error {
	for _, p := range partitions {
		if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
			return fmt.Errorf("%s/%d: leader %d, in sync %v of %v", topic, p.Partition, p.Leader, p.ISR, p.Replicas)
		}
	}
	return nil
}

// AlterConfigs sets configurations of one resource of a kind for which kadm has no
// call, such as a group (KIP-848) or a subscription of client metrics (KIP-714). A
// nil value takes one back.
func (c *Cluster) AlterConfigs(ctx context.Context, kind kmsg.ConfigResourceType, name string, values map[string]*string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kind, name
	for key, value := range values {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = key, value
		if value == nil {
			config.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		resource.Configs = append(resource.Configs, config)
	}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, c.Conn)
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
	}
	return nil
}

// Assign gives partitions of a topic their replicas, the first of which becomes
// the leader as soon as it is in sync, and returns how many leaders have changed.
// It does not wait for replicas on other brokers to catch up.
func (c *Cluster) Assign(ctx context.Context, topic string, replicas map[int32][]int32) (changed int, err error) {
	if !c.Release.AtLeast("2.4") {
		err = c.assignByZooKeeper(ctx, topic, replicas)
	} else {
		var order kadm.AlterPartitionAssignmentsReq
		for p, ids := range replicas {
			order.Assign(topic, p, ids)
		}
		_, err = c.Admin.AlterPartitionAssignments(ctx, order)
	}
	if err != nil {
		return 0, err
	}
	var elect kadm.TopicsSet
	for p := range replicas {
		elect.Add(topic, p)
	}
	results, err := c.Admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, elect)
	if err != nil {
		return 0, err
	}
	for _, r := range results[topic] {
		// A partition with an error keeps its leader: it is the right one already, or the
		// wanted one is not in sync at this moment.
		if r.Err == nil {
			changed++
		}
	}
	return changed, nil
}

// Lead gives all partitions of topics these replicas, and waits until the first of them
// leads, as every broker sees it, and serves them. A partition that it leads already,
// with as many replicas, keeps those it has.
func (c *Cluster) Lead(ctx context.Context, replicas []int32, topics ...string) error {
	return Poll(ctx, time.Minute, func() error {
		for _, topic := range topics {
			for _, b := range c.Brokers {
				m, err := topicMetadata(ctx, c.Conn.Broker(int(b.ID)), topic)
				if err != nil {
					return err
				}
				order := make(map[int32][]int32)
				for _, p := range m.Partitions {
					if p.Leader != replicas[0] || len(p.Replicas) != len(replicas) {
						order[p.Partition] = replicas
					}
				}
				if len(order) == 0 {
					continue
				}
				if _, err := c.Assign(ctx, topic, order); err != nil {
					return err
				}
				return fmt.Errorf("%s: as broker %d sees it, %d partitions are not yet led by broker %d",
					topic, b.ID, len(order), replicas[0])
			}
		}
		return c.leadersRespond(ctx, topics...)
	})
}

// LeadBy gives the partitions of a topic these replicas, and waits until they are in sync
// and the first of them leads, as every broker sees it, and responds.
func (c *Cluster) LeadBy(ctx context.Context, topic string, replicas map[int32][]int32) error {
	return Poll(ctx, startTimeout, func() error {
		for _, b := range c.Brokers {
			m, err := topicMetadata(ctx, c.Conn.Broker(int(b.ID)), topic)
			if err != nil {
				return err
			}
			for _, p := range m.Partitions {
				want := replicas[p.Partition]
				if p.Leader == want[0] && slices.Equal(p.Replicas, want) && len(p.ISR) == len(want) {
					continue
				}
				if _, err := c.Assign(ctx, topic, replicas); err != nil {
					return err
				}
				return fmt.Errorf("%s/%d: as broker %d sees it, broker %d leads, in sync %v of %v; want %v",
					topic, p.Partition, b.ID, p.Leader, p.ISR, p.Replicas, want)
			}
		}
		return c.leadersRespond(ctx, topic)
	})
}

// assignByZooKeeper is for the releases before KIP-455.
func (c *Cluster) assignByZooKeeper(ctx context.Context, topic string, replicas map[int32][]int32) error {
	type partition struct {
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Replicas  []int32 `json:"replicas"`
	}
	plan := struct {
		Version    int         `json:"version"`
		Partitions []partition `json:"partitions"`
	}{Version: 1}
	for p, ids := range replicas {
		plan.Partitions = append(plan.Partitions, partition{topic, p, ids})
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	file := filepath.Join(c.Dir, "reassignment.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	out, err := Output(c.Place.Command(c.Java.Tool(ctx, c.Release.Classpath, "kafka.admin.ReassignPartitionsCommand",
		"--zookeeper", c.ZooKeeper, "--reassignment-json-file", file, "--execute")))
	// A running reassignment is not replaced; the next round tries again.
	if err != nil && !strings.Contains(out, "existing assignment running") {
		return fmt.Errorf("kafka-reassign-partitions: %w\n%s", err, out)
	}
	return nil
}
