package wire_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Each request that is forwarded has its header parsed once, and a Produce
// request its acks.
func BenchmarkParseRequestHeader(b *testing.B) {
	id := "a-client-with-a-usual-id"
	fetch := kmsg.NewPtrFetchRequest()
	for _, c := range []struct {
		name    string
		version int16
	}{{"Fetch-v11", 11}, {"Fetch-v17", 17}} {
		b.Run(c.name, func(b *testing.B) {
			fetch.SetVersion(c.version)
			r := encode(fetch, &id, noTags(fetch))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.ParseRequestHeader(r.frame, fetch.IsFlexible()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProduceAcks(b *testing.B) {
	id, transaction := "a-client-with-a-usual-id", "a-transaction"
	for _, c := range []struct {
		name    string
		version int16
	}{{"v8", 8}, {"v11", 11}} {
		b.Run(c.name, func(b *testing.B) {
			req := produce(c.version, -1, &transaction)
			r := encode(req, &id, noTags(req))
			b.ReportAllocs()
			for b.Loop() {
				h, err := wire.ParseRequestHeader(r.frame, req.IsFlexible())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := wire.ProduceAcks(r.frame, h, req.IsFlexible()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The first bytes of each connection are looked at once.
func BenchmarkRecognize(b *testing.B) {
	req := encode(kmsg.NewPtrApiVersionsRequest(), nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		if wire.Recognize(req.frame) != wire.Recognize(nil) {
			b.Fatal("Kafka was taken for something else")
		}
	}
}

func BenchmarkSkipTags(b *testing.B) {
	for _, c := range []struct {
		name string
		tags []byte
	}{{"none", []byte{0}}, {"many", tagSections[len(tagSections)-1].bytes}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := wire.NewReader(c.tags)
				if r.SkipTags(); r.Err() != nil {
					b.Fatal(r.Err())
				}
			}
		})
	}
}

// noTags is the tag section of a header that has one, and nothing in it.
func noTags(req kmsg.Request) []byte {
	if req.IsFlexible() {
		return appendTags(nil)
	}
	return nil
}
