//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestShareGroup reads with a share group (KIP-932) while leaders move: its two
// responses, too, name the new leader's address, and not in a tag.
//
// With Kafka 4.4.0 a group sometimes gets no more of a partition after its leader has moved ("Write
// request leader epoch is smaller than last recorded" in a broker's log). Groups whose members reach
// the brokers directly have it too: 5 of 38, beside moves of one second. It ends when the leader moves
// again.
func TestShareGroup(t *testing.T) {
	const partitions = 6
	k := shared.kafka
	topic := k.NewTopic(t, "shared", partitions)
	group := topic
	earliest := "earliest"
	if err := k.AlterConfigs(t.Context(), kmsg.ConfigResourceTypeGroupConfig, group,
		map[string]*string{"share.auto.offset.reset": &earliest}); err != nil {
		t.Fatal(err)
	}
	p := startKproxy(t, k.byAddress())

	var got answers
	all := newSeen("the group")
	opts := []kgo.Opt{kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.WithHooks(&got)}
	startReader(t, p.Via("alice"), all, opts...)
	startReaderThat(t, acknowledgeAtOnce, p.Via("many"), all, opts...)
	load := startLoad(t, p.Via("bob"), topic, "s", 200, 1<<10)
	all.WaitFor(t, 30*time.Second, 1)
	moves := k.MoveLeaders(t, topic, partitions, time.Second)
	all.WaitFor(t, time.Minute, 1500)
	moved := moves.Stop()

	// A share group is at least once: a moved leader may deliver again.
	want := load.Stop(t)
	if left := all.missingAfter(t, 20*time.Second, want); len(left) > 0 {
		t.Logf("no member gets these; leaders move again:\n%s", k.locate(t, topic, left))
		k.MoveLeaders(t, topic, partitions, 5*time.Second)
	}
	all.WaitForAll(t, 2*time.Minute, topic, want)
	for _, api := range []kmsg.Key{kmsg.ShareFetch, kmsg.ShareAcknowledge} {
		if got[api].Load() == 0 {
			t.Errorf("%s: got no response", api.Name())
		}
	}
	if moved == 0 {
		t.Error("leader changes: got 0, want some")
	}
	t.Logf("%d leader changes; records: %d sent, %d deliveries; %d ShareFetch, %d ShareAcknowledge", moved,
		len(want), all.Total(), got[kmsg.ShareFetch].Load(), got[kmsg.ShareAcknowledge].Load())
}

// acknowledgeAtOnce sends ShareAcknowledge requests, where franz-go would send the
// acknowledgements in the next ShareFetch.
func acknowledgeAtOnce(ctx context.Context, client *kgo.Client, fetches kgo.Fetches) {
	fetches.EachRecord(func(r *kgo.Record) { r.Ack(kgo.AckAccept) })
	_ = client.FlushAcks(ctx) // ends early only with the test
}
