package proxy_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
	"kproxy/rewrite"
)

// hinted is a Fetch v17 response with leader hints (KIP-951) behind its records.
func hinted(records int, nodes ...int) *kmsg.FetchResponse {
	resp := fetchAnswer(17, make([]byte, records))
	for _, node := range nodes {
		hint := kmsg.NewFetchResponseBroker()
		hint.NodeID = int32(node)
		hint.Host, hint.Port = brokerAddress(node)
		resp.Brokers = append(resp.Brokers, hint)
	}
	return resp
}

// badAnswers contradict themselves, each in a way that could hide an address.
func badAnswers() map[string]struct {
	req   kmsg.Request
	frame []byte
} {
	type bad = struct {
		req   kmsg.Request
		frame []byte
	}
	fetch := of(17, kmsg.NewPtrFetchRequest())
	edited := func(resp kmsg.Response, edit func(frame []byte) []byte) []byte {
		frame := edit(answerFrame(1, resp))
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-wire.SizeLen))
		return frame
	}
	// The records of hinted responses are preceded by their length, an unsigned
	// varint of three bytes for these.
	lyingRecords := func(records int) []byte {
		return edited(hinted(records, 1, 2), func(frame []byte) []byte {
			at := bytes.Index(frame, make([]byte, records)) - 3
			frame[at+2] = 0x7f
			return frame
		})
	}
	lyingTail := func(records int) []byte {
		return edited(hinted(records, 1, 2), func(frame []byte) []byte {
			at := bytes.LastIndex(frame, []byte("broker-1")) - 1 - 4 - 1 // behind the tag's size: count, node id, length of host
			frame[at-1]++
			return frame
		})
	}
	shortened := func(resp kmsg.Response) []byte {
		return edited(resp, func(frame []byte) []byte { return frame[:len(frame)-1] })
	}
	coordinator := answerTo(2, kmsg.NewPtrFindCoordinatorResponse())
	coordinator.NodeID = 1
	coordinator.Host, coordinator.Port = brokerAddress(1)
	cluster := answerTo(0, kmsg.NewPtrDescribeClusterResponse())
	described := kmsg.NewDescribeClusterResponseBroker()
	described.Host, described.Port = brokerAddress(1)
	cluster.Brokers = append(cluster.Brokers, described)
	return map[string]bad{
		"Metadata with more brokers than it has": {metadataRequest(12), edited(metadataAnswer(12, 0, 1), func(frame []byte) []byte {
			frame[wire.ResponsePrefixLen+1+4] = 120 // behind header tags and throttle time
			return frame
		})},
		"Metadata v1 with more brokers than memory": {metadataRequest(1), edited(metadataAnswer(1, 0, 1), func(frame []byte) []byte {
			binary.BigEndian.PutUint32(frame[wire.ResponsePrefixLen:], 1<<31-1)
			return frame
		})},
		"a size of 0, and nothing behind it":      {metadataRequest(12), make([]byte, wire.SizeLen)},
		"a negative size, and nothing behind it":  {metadataRequest(12), []byte{0xff, 0xff, 0xff, 0xff}},
		"Fetch with records beyond its end":       {fetch, lyingRecords(1 << 14)},
		"large Fetch with records beyond its end": {fetch, lyingRecords(1 << 20)},
		"Fetch with a lying tail":                 {fetch, lyingTail(100)},
		"large Fetch with a lying tail":           {fetch, lyingTail(1 << 20)},
		"Fetch that ends early":                   {fetch, shortened(hinted(100, 1, 2))},
		"large Fetch that ends early":             {fetch, shortened(hinted(1<<20, 1, 2))},
		"FindCoordinator that ends early":         {of(2, kmsg.NewPtrFindCoordinatorRequest()), shortened(coordinator)},
		"DescribeCluster that ends early":         {of(0, kmsg.NewPtrDescribeClusterRequest()), shortened(cluster)},
		"FindCoordinator of garbage": {of(4, kmsg.NewPtrFindCoordinatorRequest()), edited(coordinator, func(frame []byte) []byte {
			return append(frame[:wire.ResponsePrefixLen], bytes.Repeat([]byte("\xffbroker-1.vpc.invalid"), 20)...)
		})},
	}
}

// A response that cannot be understood ends the session. It is not dropped, for
// the client would wait; and not forwarded, for a broker's name may be in it.
func TestAnswersThatCannotBeParsed(t *testing.T) {
	t.Parallel()
	for name, bad := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.open(t)
			c.write(append(requestFrame(0, heartbeat()), requestFrame(1, bad.req)...))
			s.request(kmsg.Heartbeat, 0)
			s.request(kmsg.Key(bad.req.Key()), 1)
			good := answerFrame(0, heartbeatAnswer())
			go func() { _ = s.tryWrite(append(good, bad.frame...)) }()
			c.wants("the whole answer in front", good)
			rest, err := c.ended()
			if err != nil {
				t.Errorf("the client's connection ended with %v", err)
			}
			if bytes.Contains(rest, []byte("vpc.invalid")) {
				t.Errorf("a broker's name leaked: %q", rest[max(0, len(rest)-200):])
			}
			_, _ = s.ended()
			c.close()
			e := l.ended(t, proxy.BadAnswer)
			if e.Err == nil {
				t.Error("the session's end does not name the problem")
			}
			l.log.has(t, "level=WARN", "reason=bad_answer")
		})
	}
}

// A response that must be decoded as a whole is refused by its size, before it has arrived.
func TestAnswerAboveWhatIsDecoded(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, of(4, kmsg.NewPtrFindCoordinatorRequest()))
	s.request(kmsg.FindCoordinator, 1)
	promptly(t, func() {
		s.write(wire.AppendResponsePrefix(nil, 1, rewrite.MaxWhole))
		c.eof()
	})
	c.close()
	l.ended(t, proxy.BadAnswer)
}
