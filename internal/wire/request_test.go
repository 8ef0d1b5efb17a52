package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// produce is a Produce request with something behind acks.
func produce(version, acks int16, transactionalID *string) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version = version
	req.Acks = acks
	req.TransactionID = transactionalID
	req.TimeoutMillis = 0x55555555
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "topic"
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = bytes.Repeat([]byte{0xaa}, 100)
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return req
}

// behindAcks is how many bytes of a Produce request lie behind acks.
func behindAcks(req *kmsg.ProduceRequest) int {
	const timeout = 4
	empty := *req
	empty.Topics = nil
	topics := len(req.AppendTo(nil)) - len(empty.AppendTo(nil))
	if req.IsFlexible() {
		return timeout + topics + 1 + 1 // a count of topics, a count of tags
	}
	return timeout + topics + 4
}

var transactionalIDs = []struct {
	name string
	id   *string
}{
	{"null", nil},
	{"empty", new("")},
	{"short", new("tx")},
	{"126 bytes", new(strings.Repeat("t", 126))},
	{"127 bytes", new(strings.Repeat("t", 127))}, // the compact length takes two bytes from here
	{"128 bytes", new(strings.Repeat("t", 128))},
	{"300 bytes", new(strings.Repeat("t", 300))},
	{"16383 bytes", new(strings.Repeat("t", 16383))},
}

// acks decides whether a response follows at all; read at a wrong place, every later
// response of the connection goes to the wrong request.
func TestProduceAcksEqualsKmsg(t *testing.T) {
	for version := int16(0); version <= kmsg.NewPtrProduceRequest().MaxVersion(); version++ {
		for _, txn := range transactionalIDs {
			for _, acks := range []int16{0, 1, -1, 256} {
				req := produce(version, acks, txn.id)
				for _, c := range clients {
					for _, tags := range tagSections {
						name := fmt.Sprintf("v%d, transactional id %s, acks %d, %s, %s", version, txn.name, acks, c.name, tags.name)
						checkAcks(t, name, encode(req, c.id, tags.bytes), acks, behindAcks(req))
					}
				}
			}
		}
	}
}

func checkAcks(t *testing.T, name string, r request, want int16, behind int) {
	t.Helper()
	h, err := wire.ParseRequestHeader(r.frame, r.IsFlexible())
	if err != nil {
		t.Fatalf("%s: header: %v", name, err)
	}
	end := len(r.frame) - behind
	next := append(bytes.Clone(r.frame), r.frame...)
	for _, b := range [][]byte{r.frame[:end:end], r.frame, next} {
		if got, err := wire.ProduceAcks(b, h, r.IsFlexible()); err != nil || got != want {
			t.Fatalf("%s, %d bytes of %d: got %d, %v, want %d", name, len(b), len(r.frame), got, err, want)
		}
	}
	for _, n := range truncations(end - r.header) {
		n += r.header
		if got, err := wire.ProduceAcks(r.frame[:n:n], h, r.IsFlexible()); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("%s, cut at %d before %d: got %d, %v, want ErrShort", name, n, end, got, err)
		}
		cut := h
		cut.Size = int32(n - wire.SizeLen)
		if got, err := wire.ProduceAcks(r.frame, cut, r.IsFlexible()); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("%s, frame of %d, acks end at %d: got %d, %v, want ErrMalformed", name, n, end, got, err)
		}
	}
}

func TestClientSoftwareEqualsKmsg(t *testing.T) {
	for version := int16(wire.FirstClientSoftware); version <= kmsg.NewPtrApiVersionsRequest().MaxVersion(); version++ {
		for _, software := range [][2]string{{"", ""}, {"apache-kafka-java", "4.1.0"}, {strings.Repeat("n", 300), "v"}} {
			for _, tags := range tagSections {
				checkSoftware(t, encode(apiVersions(version, software[0], software[1]), nil, tags.bytes), software)
			}
		}
	}
}

func apiVersions(version int16, name, softwareVersion string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, name, softwareVersion
	return req
}

// checkSoftware reads the software from the frame, and from each part of it.
func checkSoftware(t *testing.T, r request, want [2]string) {
	t.Helper()
	h, err := wire.ParseRequestHeader(r.frame, true)
	if err != nil {
		t.Fatal(err)
	}
	name, version, err := wire.ClientSoftware(r.frame, h)
	if err != nil || string(name) != want[0] || string(version) != want[1] {
		t.Fatalf("got %q %q, %v, want %q", name, version, err, want)
	}
	end := r.header + len(apiVersions(wire.FirstClientSoftware, want[0], want[1]).AppendTo(nil)) - 1 // the count of tags
	for n := r.header; n < end; n++ {
		if _, _, err := wire.ClientSoftware(r.frame[:n:n], h); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("cut at %d before %d: %v, want ErrShort", n, end, err)
		}
		cut := h
		cut.Size = int32(n - wire.SizeLen)
		if _, _, err := wire.ClientSoftware(r.frame, cut); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("frame of %d, the software ends at %d: %v, want ErrMalformed", n, end, err)
		}
	}
}

func TestProduceAcksLies(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		body    string
	}{
		{"v2 without acks", 2, "\x00"},
		{"v3 transactional id longer than the frame", 3, "\x00\x05ab\x00\x01"},
		{"v3 transactional id of -2 bytes", 3, "\xff\xfe\x00\x01"},
		{"v9 transactional id longer than the frame", 9, "\x06ab\x00\x01"},
		{"v9 transactional id of four billion bytes", 9, "\xff\xff\xff\xff\x0f\x00\x01"},
		{"v9 transactional id with a length of six bytes", 9, "\x80\x80\x80\x80\x80\x00\x00\x01"},
		{"v9 without acks", 9, "\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := produce(c.version, 1, nil)
			r := encode(req, nil, appendTags(nil))
			frame := append(bytes.Clone(r.frame[:r.header]), c.body...)
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
			h, err := wire.ParseRequestHeader(frame, req.IsFlexible())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := wire.ProduceAcks(frame, h, req.IsFlexible()); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("got %d, %v, want ErrMalformed", got, err)
			}
		})
	}
}

func TestSASLMechanism(t *testing.T) {
	for version := int16(0); version <= kmsg.NewPtrSASLHandshakeRequest().MaxVersion(); version++ {
		for _, want := range []string{"", "PLAIN", "SCRAM-SHA-512", "AWS_MSK_IAM", strings.Repeat("M", 1<<15-1)} {
			for _, c := range clients {
				req := kmsg.NewPtrSASLHandshakeRequest()
				req.Version = version
				req.Mechanism = want
				if req.IsFlexible() {
					t.Fatalf("SaslHandshake v%d is flexible: SASLMechanism has to learn it", version)
				}
				checkMechanism(t, encode(req, c.id, nil), want)
			}
		}
	}
}

func checkMechanism(t *testing.T, r request, want string) {
	t.Helper()
	h, err := wire.ParseRequestHeader(r.frame, false)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.SASLMechanism(r.frame, h); err != nil || got != want {
		t.Fatalf("got %.20q, %v, want %.20q", got, err, want)
	}
	for _, n := range truncations(len(r.frame) - r.header) {
		n += r.header
		if got, err := wire.SASLMechanism(r.frame[:n:n], h); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("cut at %d of %d: got %.20q, %v, want ErrShort", n, len(r.frame), got, err)
		}
		cut := h
		cut.Size = int32(n - wire.SizeLen)
		if got, err := wire.SASLMechanism(r.frame, cut); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("frame of %d: got %.20q, %v, want ErrMalformed", n, got, err)
		}
	}
}
