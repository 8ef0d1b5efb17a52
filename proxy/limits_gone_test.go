package proxy_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client that reads nothing, and a broker that reads nothing, are alive: their
// kernels say so. They are kept beyond any limit, and lose nothing.
func TestPeersThatDoNotReadAreKept(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	// More than all buffers between hold: at most 4 MiB in each of the two that send,
	// and 32 MiB in each of the two that receive (net.ipv4.tcp_wmem and tcp_rmem).
	const size = 96 << 20
	// Longer than the second in which window probes follow so closely that
	// Linux leaves some unanswered (net.ipv4.tcp_invalid_ratelimit).
	const limit = 2 * time.Second
	var l lab
	b := l.startBroker(t, 0, 0)
	conf := l.config()
	conf.PeerGoneAfter = limit
	l.start(t, conf)
	reader, slow := l.session(t, b)
	reader.send(1, of(4, kmsg.NewPtrFetchRequest()))
	slow.request(kmsg.Fetch, 1)
	answer := answerFrame(1, fetchAnswer(4, make([]byte, size)))
	writer, stalled := l.session(t, b)
	request := requestFrame(1, produceRequest(9, -1, "", make([]byte, size)))
	sent := make(chan error, 2)
	go func() { sent <- slow.tryWrite(answer) }()
	go func() { sent <- writer.tryWrite(request) }()

	wait := time.NewTimer(3 * limit)
	<-wait.C
	select {
	case err := <-sent:
		t.Fatalf("everything was sent (%v), which proves nothing", err)
	default:
	}
	if n := len(l.ends.entries()); n > 0 {
		t.Fatalf("%d sessions have ended: %+v", n, l.ends.entries())
	}
	reader.wants("the answer", answer)
	stalled.wants("the request", request)
	for range 2 {
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	stalled.answer(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	writer.receive(1, answerTo(9, kmsg.NewPtrProduceResponse()))
	finish(t, &l, reader, slow)
	finish(t, &l, writer, stalled)
}
