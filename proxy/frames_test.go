package proxy_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// of returns req with its version set.
func of[R kmsg.Request](version int16, req R) R {
	req.SetVersion(version)
	return req
}

// answerTo returns resp with its version set.
func answerTo[R kmsg.Response](version int16, resp R) R {
	resp.SetVersion(version)
	return resp
}

// heartbeat is a small request whose response holds no address.
func heartbeat() kmsg.Request { return of(0, kmsg.NewPtrHeartbeatRequest()) }

// heartbeatAnswer is its response.
func heartbeatAnswer() kmsg.Response { return answerTo(0, kmsg.NewPtrHeartbeatResponse()) }

// repeated is n requests of one kind.
func repeated(n int, req kmsg.Request) []kmsg.Request {
	reqs := make([]kmsg.Request, n)
	for i := range reqs {
		reqs[i] = req
	}
	return reqs
}

func metadataRequest(version int16) *kmsg.MetadataRequest {
	return of(version, kmsg.NewPtrMetadataRequest())
}

// metadataAnswer names these nodes as they advertise themselves.
func metadataAnswer(version int16, nodes ...int) *kmsg.MetadataResponse {
	resp := answerTo(version, kmsg.NewPtrMetadataResponse())
	resp.Brokers = brokersNamed(nodes...)
	return resp
}

func brokersNamed(nodes ...int) []kmsg.MetadataResponseBroker {
	var brokers []kmsg.MetadataResponseBroker
	for _, node := range nodes {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID = int32(node)
		b.Host, b.Port = brokerAddress(node)
		brokers = append(brokers, b)
	}
	return brokers
}

// brokerAddress is brokerName as responses carry it.
func brokerAddress(node int) (host string, port int32) {
	host, text, err := net.SplitHostPort(brokerName(node))
	if err != nil {
		panic(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return host, int32(n)
}

func splitAddress(t *testing.T, address string) (host string, port int) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return host, port
}

// told returns the addresses in a Metadata response: host:port by node.
func told(resp *kmsg.MetadataResponse) map[int32]string {
	all := map[int32]string{}
	for _, b := range resp.Brokers {
		all[b.NodeID] = hostPort(b.Host, b.Port)
	}
	return all
}

func hostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// fetchAnswer has one partition with these records.
func fetchAnswer(version int16, records []byte) *kmsg.FetchResponse {
	resp := answerTo(version, kmsg.NewPtrFetchResponse())
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = records
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "t"
	topic.Partitions = append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

// produceRequest has one partition with these records; without a transactional
// id if that is "".
func produceRequest(version, acks int16, transactionalID string, records []byte) *kmsg.ProduceRequest {
	req := of(version, kmsg.NewPtrProduceRequest())
	req.Acks = acks
	if transactionalID != "" {
		req.TransactionID = &transactionalID
	}
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = records
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "t"
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return req
}
