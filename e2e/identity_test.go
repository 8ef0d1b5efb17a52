//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"kproxy/internal/wait"
)

// TestAnotherClusterAtABrokersAddress leads the address of one real broker to another cluster, which has the topic, too, and
// brokers of the same ids. No record of the other brokers gets there, and all of them are acknowledged.
func TestAnotherClusterAtABrokersAddress(t *testing.T) {
	topic := shared.kafka.NewTopic(t, "stranger", 3)
	leaders := map[int32]int32{} // by partition
	details, err := shared.kafka.Admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range details[topic].Partitions {
		leaders[p.Partition] = p.Leader
	}
	other, err := kfake.NewCluster(kfake.NumBrokers(1+brokerCount), kfake.SeedTopics(3, topic), kfake.ClusterID("another-cluster"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	for partition, leader := range leaders {
		if err := other.MoveTopicPartition(topic, partition, leader); err != nil {
			t.Fatal(err)
		}
	}
	const wrong = 2
	way := shared.kafka.byAddress()
	way.Dial = append([]string{fmt.Sprintf("{node: %d, to: %q}", wrong, other.ListenAddrs()[wrong])}, way.Dial...)
	p := startKproxy(t, way)
	p.faulty = true

	many := p.Via("many")
	g := newGate(t, many)
	acknowledged := map[int32]int64{}
	for range 5 { // clients that begin anew ask another broker
		client, err := kgo.NewClient(kgo.SeedBrokers(many.Advertise), kgo.Dialer(g.Dial), kgo.DefaultProduceTopic(topic),
			kgo.MaxVersions(kversion.V3_9_0()), // they do not name the cluster that they want (KIP-1242)
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(),
			kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		for ctx.Err() == nil {
			for partition, leader := range leaders {
				record := &kgo.Record{Partition: partition, Value: []byte("record")}
				if leader == wrong {
					client.Produce(ctx, record, nil)
				} else if err := client.ProduceSync(ctx, record).FirstErr(); err == nil {
					acknowledged[partition]++
				}
			}
			wait.Sleep(ctx, 20*time.Millisecond)
		}
		cancel()
		client.Close()
	}
	if got := g.Bypasses(); len(got) > 0 {
		t.Errorf("connections that bypassed kproxy: %v", got)
	}
	ends, err := shared.kafka.Admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for partition, leader := range leaders {
		has, strays := ends[topic][partition].Offset, other.PartitionInfo(topic, partition).HighWatermark
		t.Logf("partition %d of node %d: %d records acknowledged, %d in the cluster, %d in the other one", partition, leader, acknowledged[partition], has, strays)
		if leader != wrong && (strays > 0 || has < acknowledged[partition] || acknowledged[partition] < 50) {
			t.Error("records of another node are lost, or get into the other cluster")
		}
	}
	log, err := os.ReadFile(p.proc.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"an address leads to another cluster; clients are not led there": 1, "the brokers of the old one are forgotten": 0} {
		if n := strings.Count(string(log), text); n != want {
			t.Errorf("the log has %q %d times, want %d", text, n, want)
		}
	}
}
