package rewrite

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchOf is a Fetch response with this number of partitions, of this many bytes of
// records each.
func fetchOf(partitions, records int) *kmsg.FetchResponse {
	resp := newResponse(kmsg.Fetch.Int16(), 18).(*kmsg.FetchResponse)
	topic := kmsg.NewFetchResponseTopic()
	for i := range partitions {
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition = int32(i)
		p.RecordBatches = make([]byte, records)
		topic.Partitions = append(topic.Partitions, p)
	}
	resp.Topics = append(resp.Topics, topic)
	return resp
}

// The Walker sees every byte of every response that carries records. It gets the bytes as
// from a connection: a buffer of 16 KiB, and records passed beyond it.
func BenchmarkWalker(b *testing.B) {
	const buffer = 16 << 10
	for _, c := range []struct {
		name                string
		partitions, records int
	}{
		{"1MiB-1partition", 1, 1 << 20},
		{"1MiB-100partitions", 100, 1 << 20 / 100},
		{"small-1partition", 1, 200},
		{"small-10partitions", 10, 200},
		{"empty-1000partitions", 1000, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			payload := encode(fetchOf(c.partitions, c.records), []byte{0})
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			var w Walker
			for b.Loop() {
				walkOnly(&w, kmsg.Fetch.Int16(), 18, payload, buffer)
			}
		})
	}
}

func BenchmarkHead(b *testing.B) {
	for _, c := range []struct {
		name    string
		brokers int
	}{{"3brokers", 3}, {"100brokers", 100}} {
		b.Run(c.name, func(b *testing.B) {
			payload := encode(metadata(13, c.brokers, new("us-west-2a"), false), []byte{0})
			r := telling("proxy.example")
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := r.Head(kmsg.Metadata.Int16(), 13, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTail(b *testing.B) {
	for _, c := range []struct {
		name    string
		brokers int
		host    string
		fixed   bool
	}{
		{"no-hints", 0, "", true},
		{"2hints-any-length", 2, "proxy.example", false},
		{"2hints-padded", 2, "proxy.example", true},
		{"2hints-neutralised", 2, "a-name-that-is-longer-than-those-of-the-brokers-are.proxy.example", true},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, in := parts(hinted(kmsg.Fetch.Int16(), 18, c.brokers, 45))
			r := telling(c.host)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Tail(kmsg.Fetch.Int16(), 18, in, c.fixed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A proxy is asked for ApiVersions once for each connection.
func BenchmarkWhole(b *testing.B) {
	var apis []api
	for key := range int16(kmsg.MaxKey + 1) {
		if resp := kmsg.ResponseForKey(key); resp != nil {
			apis = append(apis, api{key, 0, resp.MaxVersion()})
		}
	}
	for _, c := range []struct {
		name string
		resp kmsg.Response
	}{
		{"ApiVersions", apiResponse(4, apis...)},
		{"FindCoordinator", coordinatorResponse(6, Broker{Node: 1, Host: brokerHost(1), Port: 9092}, 0)},
		{"DescribeCluster", cluster(2, someBrokers(3)...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			payload := encode(c.resp, []byte{0})
			r := telling("proxy.example")
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Whole(c.resp.Key(), c.resp.GetVersion(), payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
