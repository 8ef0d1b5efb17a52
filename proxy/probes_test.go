package proxy_test

import (
	"encoding/binary"
	"net"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// stolenID is what a hostile broker, or a replica, may do with the client.id of a
// question that it is asked: it waits in hold until the test has used it.
type stolenID struct {
	ids  chan string
	hold chan struct{}
}

// eavesdrop has a broker of the lab's vpc keep the first question that it is asked
// unanswered until hold is closed.
func (l *lab) eavesdrop(t *testing.T, node int) stolenID {
	t.Helper()
	ln, err := l.vpc.ListenAs(t.Context(), brokerName(node))
	if err != nil {
		t.Fatal(err)
	}
	stolen := stolenID{ids: make(chan string, 64), hold: make(chan struct{})}
	serveEach(t, ln, func(conn net.Conn) {
		c := brokerConn{newPeer(t, conn)}
		defer c.close()
		id := c.clientID()
		stolen.ids <- id
		<-stolen.hold
		for {
			r, err := c.tryRequest()
			if err != nil {
				return
			}
			var resp kmsg.Response = answerTo(r.Version, kmsg.NewPtrApiVersionsResponse())
			switch kmsg.Key(r.Key) {
			case kmsg.Metadata:
				resp = metadataAnswer(r.Version, node)
			case kmsg.Heartbeat:
				resp = heartbeatAnswer()
			default:
			}
			if c.tryWrite(answerFrame(r.CorrelationID, resp)) != nil {
				return
			}
		}
	})
	return stolen
}

// sendAs sends ApiVersions v0 with a client.id.
func (c client) sendAs(id string) {
	c.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	c.write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 1))
}

// A broker that repeats the client.id of kproxy's question to a listener of another
// cluster condemns no cluster, and at a listener of its own only the session that
// repeats it, and its own address.
func TestAQuestionsClientIDCondemnsNoOther(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	stolen := l.eavesdrop(t, 0)
	l.startBroker(t, 1, 1)
	conf := l.config()
	audit := conf.Clusters[0]
	audit.Name, audit.Bootstrap = "audit", []string{brokerName(1)}
	audit.Listeners = []config.Listener{{
		Name: "ada", Bind: "127.0.0.1:29092", Advertise: "ada.test:29092",
		Nodes: config.Nodes{Ports: config.Range{First: 29100, Last: 29109}},
	}}
	conf.Clusters = append(conf.Clusters, audit)
	l.start(t, conf)
	id := <-stolen.ids

	other := l.dial(t, "ada.test:29092")
	other.sendAs(id)
	other.receive(1, answerTo(0, kmsg.NewPtrApiVersionsResponse()))

	close(stolen.hold)
	l.learned(t, 0)
	late := l.dial(t, "bob.test:9092") // the question is over
	late.sendAs(id)
	late.receive(1, answerTo(0, kmsg.NewPtrApiVersionsResponse()))

	second := l.dial(t, "bob.test:9092") // the id of a kproxy, in two sessions at once
	second.sendAs(id)
	l.ended(t, proxy.Loop)

	late.close()
	l.ended(t, proxy.ClientClosed)
	third := l.dial(t, "bob.test:9092")
	third.sendAs(id)
	third.receive(1, answerTo(0, kmsg.NewPtrApiVersionsResponse()))

	innocent := l.dial(t, "bob.test:9092")
	innocent.send(7, heartbeat())
	innocent.receive(7, heartbeatAnswer())
}

// A session that brings the id while the question is under way is refused; the
// address that was asked is not dialled for clients until it answers a question.
func TestAQuestionThatComesBackCondemnsItsAddressAlone(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	var l lab
	stolen := l.eavesdrop(t, 0)
	good := l.startBroker(t, 1, 1)
	conf := l.config()
	conf.Clusters[0].Bootstrap = []string{brokerName(0)}
	l.start(t, conf)
	id := <-stolen.ids
	back := l.dial(t, "bob.test:9092")
	back.sendAs(id)
	l.ended(t, proxy.Loop)
	close(stolen.hold)
	l.log.has(t, "level=ERROR", "lead back to this proxy")
	refused := l.dial(t, "bob.test:9092")
	refused.send(1, heartbeat())
	l.ended(t, proxy.Loop)
	if good.sessions() != 0 {
		t.Error("a broker that is not configured was dialled")
	}
}

// lyingBroker answers ApiVersions, and every other request by payload.
func (l *lab) lyingBroker(t *testing.T, payload []byte) {
	t.Helper()
	ln, err := l.vpc.ListenAs(t.Context(), brokerName(0))
	if err != nil {
		t.Fatal(err)
	}
	serve := func(conn net.Conn) {
		c := brokerConn{newPeer(t, conn)}
		defer c.close()
		for {
			r, err := c.tryRequest()
			if err != nil {
				return
			}
			frame := answerFrame(r.CorrelationID, answerTo(r.Version, kmsg.NewPtrApiVersionsResponse()))
			if r.Key != kmsg.ApiVersions.Int16() {
				frame = append(wire.AppendResponsePrefix(nil, r.CorrelationID, len(payload)), payload...)
			}
			if c.tryWrite(frame) != nil {
				return
			}
		}
	}
	serveEach(t, ln, serve)
}

// What a broker says to kproxy's own question costs no more than what it sends.
func TestOwnQuestionsTrustNoCount(t *testing.T) {
	needsPlainTCP(t)
	for _, c := range []struct {
		name    string
		count   uint32
		zeros   int
		mention string
	}{
		{"16 million brokers in 16 MB", 16_777_100, 16_777_100, "a response of 167771"},
		{"16 million brokers in 1 KB", 16_777_100, 1 << 10, "more than 1000000 elements"},
		{"a million brokers in 1 KB", 1_000_000, 1 << 10, "frame ends inside a field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l lab
			payload := binary.BigEndian.AppendUint32(make([]byte, 4), c.count)
			l.lyingBroker(t, append(payload, make([]byte, c.zeros)...))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			l.start(t, l.config())
			l.log.has(t, "no broker has said who the brokers are", c.mention)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 48<<20 { // the broker of the test takes 32 MB itself
				t.Errorf("%d bytes were allocated", got)
			}
		})
	}
}
