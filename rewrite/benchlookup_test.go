package rewrite

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Each request needs a lookup of its header's flexibility, each response one of its
// treatment: the first entries of the table, the last, and unknown APIs.
func BenchmarkLookups(b *testing.B) {
	for _, c := range []struct {
		name         string
		key, version int16
	}{
		{"Produce", kmsg.Produce.Int16(), 11},
		{"ShareAcknowledge", kmsg.ShareAcknowledge.Int16(), 1},
		{"OffsetCommit", kmsg.OffsetCommit.Int16(), 9},
	} {
		b.Run("treatment/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if TreatmentOf(c.key, c.version) == Refuse {
					b.Fatal("refused")
				}
			}
		})
		b.Run("flexible/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !FlexibleRequest(c.key, c.version) {
					b.Fatal("not flexible")
				}
			}
		})
	}
}

// A response to Produce is as small as its topics' names: most of the cost of a walk is
// the start.
func BenchmarkWalkerProduce(b *testing.B) {
	for _, c := range []struct {
		name       string
		partitions int
	}{{"1partition", 1}, {"100partitions", 100}} {
		b.Run(c.name, func(b *testing.B) {
			resp := newResponse(kmsg.Produce.Int16(), 11).(*kmsg.ProduceResponse)
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = "a-topic-with-a-usual-name"
			for i := range c.partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition = int32(i)
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Topics = append(resp.Topics, topic)
			payload := encode(resp, []byte{0})
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			var w Walker
			for b.Loop() {
				walkOnly(&w, kmsg.Produce.Int16(), 11, payload, len(payload))
			}
		})
	}
}
