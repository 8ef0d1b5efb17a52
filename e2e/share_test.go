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
// Kafka 4.4.0 sometimes gives no member of a group the rest of a partition after its leader has
// moved ("Write request leader epoch is smaller than last recorded" in a broker's log). Then another
// group has a try.
func TestShareGroup(t *testing.T) {
	for range 2 {
		if readAsShareGroup(t) {
			return
		}
	}
	t.Error("two groups were stuck, also for a member that reaches the brokers directly")
}

// readAsShareGroup reports whether the group has read everything. It fails if a member that reaches
// the brokers directly gets records that those through kproxy do not.
func readAsShareGroup(t *testing.T) bool {
	t.Helper()
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
	all.WaitFor(t, 30*time.Second, 1500)
	moved := moves.Stop()

	// A share group is at least once: a moved leader may deliver again.
	want := load.Stop(t)
	if left := all.missingAfter(t, time.Minute, want); len(left) > 0 {
		t.Logf("not read after a minute:\n%s", k.locate(t, topic, left))
		direct, beside := listener{Name: "direct", Advertise: advertised(1), told: advertised}, newSeen("a member beside kproxy")
		startReader(t, direct, beside, kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.Dialer(k.dialDirectly))
		if still := beside.missingAfter(t, time.Minute, left); len(still) < len(left) {
			t.Errorf("a member beside kproxy reads %d of %d records that those through it do not", len(left)-len(still), len(left))
		}
		return false
	}
	all.WaitForAll(t, time.Minute, topic, want)
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
	return true
}

// acknowledgeAtOnce sends ShareAcknowledge requests, where franz-go would send the
// acknowledgements in the next ShareFetch.
func acknowledgeAtOnce(ctx context.Context, client *kgo.Client, fetches kgo.Fetches) {
	fetches.EachRecord(func(r *kgo.Record) { r.Ack(kgo.AckAccept) })
	_ = client.FlushAcks(ctx) // ends early only with the test
}
