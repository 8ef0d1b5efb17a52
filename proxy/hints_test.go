package proxy_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// The hosts of listeners, compared with those of brokers. If the size of a response has been
// sent before the proxy finds a leader hint (KIP-951) in it, the advertised address must take
// the same number of bytes.
var advertisedHosts = map[string]string{
	"shorter":        "bob.test",
	"shorter by one": "kproxy1.example.com",
	"equal":          "kproxy-1.example.com",
	"longer":         "kproxy-in-front-of-everything.example.com",
}

// hintedAnswer is a response with leader hints for the nodes 1 and 2, in one of
// the APIs that carry them, with about n bytes in front.
type hintedAnswer struct {
	req  kmsg.Request
	resp func(n int) kmsg.Response
	// told returns the hints in resp, as host:port by node.
	told func(resp kmsg.Response) map[int32]string
}

var hintedAnswers = map[string]hintedAnswer{
	"Fetch": {
		of(17, kmsg.NewPtrFetchRequest()),
		func(n int) kmsg.Response { return hinted(n, 1, 2) },
		fetchHints,
	},
	// A throttled broker empties the response, and leaves the hints.
	"Fetch without partitions": {
		of(16, kmsg.NewPtrFetchRequest()),
		func(int) kmsg.Response {
			resp := hinted(0, 1, 2)
			resp.Version, resp.Topics = 16, nil
			return resp
		},
		fetchHints,
	},
	"Produce": {
		produceRequest(10, -1, "", []byte("records")),
		func(n int) kmsg.Response {
			resp := answerTo(10, kmsg.NewPtrProduceResponse())
			partition := kmsg.NewProduceResponseTopicPartition()
			message := strings.Repeat("m", n)
			partition.ErrorMessage = &message
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = "t"
			topic.Partitions = append(topic.Partitions, partition)
			resp.Topics = append(resp.Topics, topic)
			for node := 1; node <= 2; node++ {
				b := kmsg.NewProduceResponseBroker()
				b.NodeID = int32(node)
				b.Host, b.Port = brokerAddress(node)
				resp.Brokers = append(resp.Brokers, b)
			}
			return resp
		},
		func(resp kmsg.Response) map[int32]string {
			all := map[int32]string{}
			for _, b := range resp.(*kmsg.ProduceResponse).Brokers {
				all[b.NodeID] = hostPort(b.Host, b.Port)
			}
			return all
		},
	},
	"ShareFetch": {
		of(1, kmsg.NewPtrShareFetchRequest()),
		func(n int) kmsg.Response {
			resp := answerTo(1, kmsg.NewPtrShareFetchResponse())
			partition := kmsg.NewShareFetchResponseTopicPartition()
			partition.Records = make([]byte, n)
			partition.AcquiredRecords = append(partition.AcquiredRecords, kmsg.NewShareFetchResponseTopicPartitionAcquiredRecord())
			topic := kmsg.NewShareFetchResponseTopic()
			topic.Partitions = append(topic.Partitions, partition)
			resp.Topics = append(resp.Topics, topic)
			for node := 1; node <= 2; node++ {
				b := kmsg.NewShareFetchResponseNodeEndpoint()
				b.NodeID = int32(node)
				b.Host, b.Port = brokerAddress(node)
				resp.NodeEndpoints = append(resp.NodeEndpoints, b)
			}
			return resp
		},
		func(resp kmsg.Response) map[int32]string {
			all := map[int32]string{}
			for _, b := range resp.(*kmsg.ShareFetchResponse).NodeEndpoints {
				all[b.NodeID] = hostPort(b.Host, b.Port)
			}
			return all
		},
	},
	"ShareAcknowledge": {
		of(2, kmsg.NewPtrShareAcknowledgeRequest()),
		func(n int) kmsg.Response {
			resp := answerTo(2, kmsg.NewPtrShareAcknowledgeResponse())
			partition := kmsg.NewShareAcknowledgeResponseTopicPartition()
			message := strings.Repeat("m", n)
			partition.ErrorMessage = &message
			topic := kmsg.NewShareAcknowledgeResponseTopic()
			topic.Partitions = append(topic.Partitions, partition)
			resp.Topics = append(resp.Topics, topic)
			for node := 1; node <= 2; node++ {
				b := kmsg.NewShareAcknowledgeResponseNodeEndpoint()
				b.NodeID = int32(node)
				b.Host, b.Port = brokerAddress(node)
				resp.NodeEndpoints = append(resp.NodeEndpoints, b)
			}
			return resp
		},
		func(resp kmsg.Response) map[int32]string {
			all := map[int32]string{}
			for _, b := range resp.(*kmsg.ShareAcknowledgeResponse).NodeEndpoints {
				all[b.NodeID] = hostPort(b.Host, b.Port)
			}
			return all
		},
	},
}

func fetchHints(resp kmsg.Response) map[int32]string {
	all := map[int32]string{}
	for _, b := range resp.(*kmsg.FetchResponse).Brokers {
		all[b.NodeID] = hostPort(b.Host, b.Port)
	}
	return all
}

// hints starts a proxy with a listener for each of advertisedHosts, and knows the nodes that
// are hinted at.
func (l *lab) hints(t *testing.T) {
	t.Helper()
	l.hintsAt(t, advertisedHosts)
}

func (l *lab) hintsAt(t *testing.T, hosts map[string]string) {
	t.Helper()
	l.first = l.startBroker(t, 0, 0, 1, 2)
	conf := l.config()
	bob := conf.Clusters[0].Listeners[0]
	conf.Clusters[0].Listeners = nil
	port := 9092
	for name, host := range hosts {
		bob.Name = strings.ReplaceAll(name, " ", "-")
		bob.Bind = fmt.Sprintf("127.0.0.1:%d", port)
		bob.Advertise = host + ":9092"
		bob.Nodes.Ports = config.Range{First: port + 8, Last: port + 17}
		bob.Nodes.AdvertisePorts = config.Range{First: 9100, Last: 9109}
		conf.Clusters[0].Listeners = append(conf.Clusters[0].Listeners, bob)
		port += 100
	}
	l.start(t, conf)
}

// checkHints fails the test unless frame, which came for a response of n bytes, is
// the response with host in the place of brokers. Where the response was too long to
// be held, its length has not changed.
func checkHints(t *testing.T, h hintedAnswer, n int, frame []byte, host string) {
	t.Helper()
	if bytes.Contains(frame, []byte("vpc.invalid")) {
		t.Error("a broker's name leaked")
	}
	sent := answerFrame(1, h.resp(n))
	large := len(sent) > 16<<10
	if large && len(frame) != len(sent) {
		t.Errorf("got %d bytes, want %d", len(frame), len(sent))
	}
	got := kmsg.ResponseForKey(h.req.Key())
	got.SetVersion(h.req.GetVersion())
	decodeAnswer(t, frame, 1, got)
	want := map[int32]string{1: host + ":9101", 2: host + ":9102"}
	if large && len(host) > len("broker-1.vpc.invalid") {
		want = map[int32]string{} // the client asks Metadata, as if there were no hints
	}
	wantTold(t, h.told(got), want)
	// Everything but the hints is as it was. Padding behind them changes
	// nothing in front of it.
	if front := len(sent) - 100; front > 12 && !bytes.Equal(frame[12:front], sent[12:front]) {
		t.Error("what stands in front of the hints has changed")
	}
}

// answerHints has the broker answer with n bytes of records, and checks the response that the
// client receives. The client bootstraps from host.
func answerHints(t *testing.T, h hintedAnswer, n int, c client, s brokerConn, host string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- s.tryWrite(answerFrame(1, h.resp(n))) }()
	checkHints(t, h, n, c.frame(), host)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestLeaderHints(t *testing.T) {
	t.Parallel()
	var l lab
	l.hints(t)
	for name, h := range hintedAnswers {
		for place, host := range advertisedHosts {
			for _, n := range []int{10, 20_000, 1 << 20} {
				t.Run(fmt.Sprint(name, "/", place, "/", n), func(t *testing.T) {
					c := l.dial(t, host+":9092")
					c.send(1, h.req)
					s := l.first.take()
					s.request(kmsg.Key(h.req.Key()), 1)
					answerHints(t, h, n, c, s, host)
					finish(t, &l, c, s)
				})
			}
		}
	}
}

// However a response is cut into pieces on its way, the client gets the same.
func TestLeaderHintsInPieces(t *testing.T) {
	t.Parallel()
	const n = 17_000 // just too long to be held
	var l lab
	l.inMemory() // where each write is a read
	l.hints(t)
	for name, h := range hintedAnswers {
		for _, place := range []string{"shorter by one", "longer"} {
			t.Run(name+"/"+place, func(t *testing.T) {
				host := advertisedHosts[place]
				c := l.dial(t, host+":9092")
				s := brokerConn{}
				frame := answerFrame(1, h.resp(n))
				exchange := func(send func()) {
					t.Helper()
					asked := make(chan error, 1)
					go func() { asked <- c.tryWrite(requestFrame(1, h.req)) }()
					if s.peer == nil {
						s = l.first.take()
					}
					s.request(kmsg.Key(h.req.Key()), 1)
					if err := <-asked; err != nil {
						t.Fatal(err)
					}
					go send()
					checkHints(t, h, n, c.frame(), host)
				}
				for split := max(1, len(frame)-100); split < len(frame); split++ {
					exchange(func() {
						_ = s.tryWrite(frame[:split])
						_ = s.tryWrite(frame[split:])
					})
				}
				exchange(func() { // both ends byte by byte
					ends := min(200, len(frame)/2)
					_ = s.tryWriteBytes(frame[:ends])
					_ = s.tryWrite(frame[ends : len(frame)-ends])
					_ = s.tryWriteBytes(frame[len(frame)-ends:])
				})
				finish(t, &l, c, s)
			})
		}
	}
}

// Responses with leader hints are counted by the node that was dialled. Those that name this node
// itself show that another broker responds at its address.
func TestLeaderHintsAreCounted(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0, 1, 2)
	second := l.startBroker(t, 2, 0, 1, 2)
	l.start(t, l.config())
	l.learned(t, 0, 1, 2)
	c := l.dial(t, "bob.test:9102")
	c.send(0, heartbeat())
	s := second.take()
	s.request(kmsg.Heartbeat, 0)
	s.answer(0, heartbeatAnswer())
	c.receive(0, heartbeatAnswer())
	fetch := of(17, kmsg.NewPtrFetchRequest())
	for i, nodes := range [][]int{{1}, {1, 2}, {}, {0, 1}, {0}} {
		id := int32(i + 1)
		c.send(id, fetch)
		s.request(kmsg.Fetch, id)
		s.answer(id, hinted(10_000*i, nodes...))
		c.receive(id, answerTo(17, kmsg.NewPtrFetchResponse()))
	}
	stats := l.proxy.Stats().Clusters[0].Listeners
	if got, want := stats[0].Routing, []proxy.RoutingCount{{Node: 2, LeaderAnother: 3, LeaderItself: 1}}; !slices.Equal(got, want) || len(stats[1].Routing) > 0 {
		t.Errorf("got %+v and %+v, want %+v", got, stats[1].Routing, want)
	}
	finish(t, &l, c, s)
}

// A broker that says that it is not the one that a client asks for is counted, and the log says so.
func TestMisroutedClientsAreCounted(t *testing.T) {
	t.Parallel()
	var l lab
	l.first = l.startBroker(t, 0, 0, 2)
	second := l.startBroker(t, 2, 0, 2)
	l.start(t, l.config())
	l.learned(t, 0, 2)
	versions := of(5, kmsg.NewPtrApiVersionsRequest())
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "test", "1"
	c := l.dial(t, "bob.test:9102")
	s := brokerConn{}
	for id, code := range []int16{0, kerr.RebootstrapRequired.Code, kerr.RebootstrapRequired.Code} {
		c.send(int32(id), versions)
		if s.peer == nil {
			s = second.take()
		}
		s.request(kmsg.ApiVersions, int32(id))
		resp := answerTo(5, kmsg.NewPtrApiVersionsResponse())
		resp.ErrorCode = code
		s.answer(int32(id), resp)
		c.receive(int32(id), answerTo(5, kmsg.NewPtrApiVersionsResponse()))
	}
	if got, want := l.proxy.Stats().Clusters[0].Listeners[0].Routing, []proxy.RoutingCount{{Node: 2, Misrouted: 2}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	l.log.has(t, "level=WARN", "the broker says that it is not the one that a client asks for", "listener=bob", "node=2", "client=127.0.0.1:", "client_id=", "fix=")
	finish(t, &l, c, s)
}
