//go:build linux

package main

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

const (
	clientID    = "bench"
	clusterID   = "kproxy-bench"
	topicPrefix = "bench-" // and the number of its partitions
)

// topicID is that of every topic.
var topicID = [16]byte{0: 'b', 15: 1}

// requestFrame is the request that a workload's connections send, with a
// correlation id of 0.
func requestFrame(w workload) []byte {
	return encodeRequest(requestOf(w))
}

func encodeRequest(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
}

func requestOf(w workload) kmsg.Request {
	topic := topicPrefix + strconv.Itoa(w.Partitions)
	switch kmsg.Key(w.Key) {
	case kmsg.Produce:
		return produceRequest(w, topic)
	case kmsg.Fetch:
		return fetchRequest(w, topic)
	case kmsg.Metadata:
		req := kmsg.NewPtrMetadataRequest()
		req.Version = w.Version
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		req.Topics = append(req.Topics, t)
		return req
	default:
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = w.Version
		req.ClientSoftwareName, req.ClientSoftwareVersion = clientID, "1"
		return req
	}
}

func produceRequest(w workload, topic string) kmsg.Request {
	req := kmsg.NewPtrProduceRequest()
	req.Version = w.Version
	req.Acks = -1
	req.TimeoutMillis = 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, topicID
	for i := range w.Partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = int32(i)
		p.Records = batchOf(w.Bytes / w.Partitions)
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// fetchRequest asks each partition for its part of the bytes. The fake broker returns
// exactly that.
func fetchRequest(w workload, topic string) kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.Version = w.Version
	req.MaxWaitMillis = 500
	req.MaxBytes = int32(w.Bytes)
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, topicID
	for i := range w.Partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = int32(i)
		p.PartitionMaxBytes = int32(w.Bytes / w.Partitions)
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// responseFrame is the fake broker's response to requestFrame.
func responseFrame(w workload) []byte {
	return encodeResponse(responseTo(requestOf(w), node{"127.0.0.1", 9092}))
}

// node is the fake broker's name.
type node struct {
	host string
	port int32
}

// encodeResponse encodes a response as a frame with a correlation id of 0.
func encodeResponse(resp kmsg.Response) []byte {
	frame := make([]byte, wire.ResponsePrefixLen)
	// The header of an ApiVersions response is never flexible (KIP-511).
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		frame = append(frame, 0)
	}
	frame = resp.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
	return frame
}

// responseTo is the fake broker's response, or nil for an API that it does not know.
func responseTo(req kmsg.Request, self node) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		return respondAPIVersions(req)
	case *kmsg.MetadataRequest:
		return respondMetadata(req, self)
	case *kmsg.ProduceRequest:
		return respondProduce(req)
	case *kmsg.FetchRequest:
		return respondFetch(req)
	default:
		return nil
	}
}

func respondAPIVersions(req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata, kmsg.ApiVersions} {
		api := kmsg.NewApiVersionsResponseApiKey()
		api.ApiKey = key.Int16()
		api.MaxVersion = kmsg.RequestForKey(key.Int16()).MaxVersion()
		resp.ApiKeys = append(resp.ApiKeys, api)
	}
	return resp
}

func respondMetadata(req *kmsg.MetadataRequest, self node) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	id := clusterID
	resp.ClusterID = &id
	broker := kmsg.NewMetadataResponseBroker()
	broker.Host, broker.Port = self.host, self.port
	resp.Brokers = append(resp.Brokers, broker)
	for _, asked := range req.Topics {
		if asked.Topic == nil {
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.TopicID = asked.Topic, topicID
		n, _ := strconv.Atoi(strings.TrimPrefix(*asked.Topic, topicPrefix)) // 0 partitions of a topic that is not ours
		for i := range min(n, manyPartitions) {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition = int32(i)
			p.Replicas, p.ISR = []int32{0}, []int32{0}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func respondProduce(req *kmsg.ProduceRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, asked := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		for _, ap := range asked.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = ap.Partition
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func respondFetch(req *kmsg.FetchRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	for _, asked := range req.Topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		for _, ap := range asked.Partitions {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition = ap.Partition
			p.HighWatermark, p.LastStableOffset, p.LogStartOffset = 1, 1, 0
			p.RecordBatches = batchOf(int(min(max(0, ap.PartitionMaxBytes), stalledBytes)))
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// batchOverhead is the largest size of a batch of one record, without its value.
const batchOverhead = 80

// batchOf is a record batch of n bytes: one record, whose value fills it. Below
// batchOverhead bytes it has no record.
func batchOf(n int) []byte {
	if n < batchOverhead {
		return nil
	}
	value := n - batchOverhead
	for {
		b := encodeBatch(value)
		if len(b) == n {
			return b
		}
		value += n - len(b)
		if len(b) > n { // a length byte more than one value less: n cannot be met, and zeros end it
			return append(encodeBatch(value), 0)[:n]
		}
	}
}

func encodeBatch(value int) []byte {
	record := kmsg.Record{Value: make([]byte, value)}
	body := record.AppendTo(nil)
	// The length is a varint in front, and counts neither itself nor its placeholder 0.
	record.Length = int32(len(body) - 1)
	records := kbin.AppendVarint(nil, record.Length)
	records = append(records, body[1:]...)
	batch := kmsg.RecordBatch{
		Magic: 2, NumRecords: 1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: records,
	}
	b := batch.AppendTo(nil)
	const afterLength, crcAt, afterCRC = 12, 17, 21
	binary.BigEndian.PutUint32(b[afterLength-4:], uint32(len(b)-afterLength))
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[afterCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
