package proxy_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// manyTopics is a Metadata response of some 5 MB.
func manyTopics(version int16) *kmsg.MetadataResponse {
	resp := metadataAnswer(version, 0, 1, 2)
	cluster := "cluster-id"
	resp.ClusterID = &cluster
	for i := range 1000 {
		topic := kmsg.NewMetadataResponseTopic()
		name := fmt.Sprintf("topic-%d-%s", i, strings.Repeat("x", 5000))
		topic.Topic = &name
		topic.Partitions = append(topic.Partitions, kmsg.NewMetadataResponseTopicPartition())
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// Of a Metadata response the proxy looks at the brokers in front. The topics behind
// them are on their way while the broker still sends.
func TestTopicsOfMetadataPassAsTheyCome(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{1, 9, 13} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			t.Parallel()
			resp := manyTopics(version)
			sent := answerFrame(1, resp)
			for i := range resp.Brokers {
				resp.Brokers[i].Host, resp.Brokers[i].Port = "bob.test", 9100+int32(i)
			}
			want := answerFrame(1, resp)

			var l lab
			c, s := l.open(t)
			c.send(1, metadataRequest(version))
			s.request(kmsg.Metadata, 1)
			const early = 1 << 20
			done := make(chan error, 1)
			go func() { done <- s.tryWrite(sent[:early]) }()
			shorter := len(sent) - len(want)
			c.wants("the bytes sent so far", want[:early-shorter])
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			go func() { done <- s.tryWrite(sent[early:]) }()
			c.wants("the rest", want[early-shorter:])
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			finish(t, &l, c, s)
		})
	}
}

// The head may arrive a byte at a time.
func TestHeadOfMetadataInPieces(t *testing.T) {
	t.Parallel()
	for _, version := range []int16{0, 1, 3, 9, 13} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			t.Parallel()
			var l lab
			l.inMemory() // where each write is a read
			c, s := l.open(t)
			go func() { _ = c.tryWrite(requestFrame(1, metadataRequest(version))) }()
			s.request(kmsg.Metadata, 1)
			frame := answerFrame(1, metadataAnswer(version, 0, 1, 2))
			go func() { _ = s.tryWriteBytes(frame) }()
			resp := answerTo(version, kmsg.NewPtrMetadataResponse())
			c.receive(1, resp)
			wantTold(t, told(resp), map[int32]string{0: "bob.test:9100", 1: "bob.test:9101", 2: "bob.test:9102"})
			finish(t, &l, c, s)
		})
	}
}

// A response that names no broker comes from a cluster that starts. It passes, and no node is
// forgotten.
func TestMetadataWithoutBrokersForgetsNobody(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	wantTold(t, metadata(c, s, 1, 0, 1), map[int32]string{0: "bob.test:9100", 1: "bob.test:9101"})
	c.send(2, metadataRequest(12))
	s.request(kmsg.Metadata, 2)
	s.answer(2, metadataAnswer(12))
	c.wants("the answer as it is", answerFrame(2, metadataAnswer(12)))
	l.learned(t, 0, 1)
	finish(t, &l, c, s)
}

// A fetch larger than any buffer needs no more memory than a small one.
func TestLargeAnswerNeedsNoMemory(t *testing.T) {
	needsPlainTCP(t)
	var l lab
	c, s := l.open(t)
	var first, last runtime.MemStats
	frame := answerFrame(1, hinted(32<<20, 0))
	buf := make([]byte, 1<<20)
	c.send(1, of(17, kmsg.NewPtrFetchRequest()))
	s.request(kmsg.Fetch, 1)
	runtime.ReadMemStats(&first)
	go func() { _ = s.tryWrite(frame) }()
	for left := len(frame); left > 0; {
		n, err := c.in.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	runtime.ReadMemStats(&last)
	if got := last.TotalAlloc - first.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes were allocated for an answer of %d", got, len(frame))
	}
	finish(t, &l, c, s)
}

// Of responses with small and large frames in turn, all bytes arrive.
func TestFramesOfAllSizes(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	var requests, answers []byte
	id := int32(1)
	for size := 1; size < 100_000; size = size*3/2 + 1 {
		requests = append(requests, requestFrame(id, of(4, kmsg.NewPtrFetchRequest()))...)
		answers = append(answers, wire.AppendResponsePrefix(nil, id, size)...)
		answers = append(answers, bytes.Repeat([]byte{byte(id)}, size)...)
		id++
	}
	c.write(requests)
	s.wants("the requests", requests)
	go func() { _ = s.tryWrite(answers) }()
	c.wants("the answers", answers)
	finish(t, &l, c, s)
}
